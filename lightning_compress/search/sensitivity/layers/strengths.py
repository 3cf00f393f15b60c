"""How strongly a part of a model is compressed: a share that is pruned, a number of bits, or any methods of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import PlanError, SearchError
from lightning_compress.plan import Method, Plan, Rule
from lightning_compress.prune import Prune
from lightning_compress.quantize import Interval


@dataclass(frozen=True)
class Strength:
    """The methods that treat all weights of a part.

    Attributes:
        label: its name in tables and charts.
        methods: as a :class:`~lightning_compress.Rule` takes them.

    Raises:
        SearchError: the label is no text, or the methods are no tuple.
        PlanError: the methods make no rule.
    """

    label: str
    methods: tuple[Method, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not self.label:
            raise SearchError(f"the label of a strength is {self.label!r:.80}, expected text such as '4 bits'")
        if not isinstance(self.methods, (tuple, list)):
            raise SearchError(
                f"the methods of strength {self.label!r} are {self.methods!r:.80}, expected a tuple such as "
                "(Interval(4),)"
            )
        Rule("*", *self.methods)

    @classmethod
    def of(cls, value: object) -> Strength:
        """The strength of a share that is pruned (0 to 1), a method, several methods, or of itself.

        Raises:
            SearchError: it is none of these.
            PlanError: a share out of range, or methods that make no rule.
        """
        if isinstance(value, Strength):
            return value
        if isinstance(value, float):
            return cls.of(Prune(value, "class-blind"))
        if isinstance(value, Sequence) and not isinstance(value, str):
            methods = tuple(value)
        elif hasattr(type(value), "id"):
            methods = (value,)
        else:
            raise SearchError(
                f"a strength is {value!r}, expected the share that is pruned, such as 0.2, or a method, such as "
                "Interval(4)"
            )
        Rule("*", *methods)
        return cls(" + ".join(method.label for method in methods if method.lossy) or methods[-1].label, methods)

    @property
    def ratio(self) -> float | None:
        """The share that is pruned, where pruning is the only lossy method; None otherwise."""
        prune = Rule("*", *self.methods).prune
        if prune is None or any(method.lossy for method in self.methods[1:]):
            return None
        return prune.share

    @property
    def plan(self) -> Plan:
        """The treatment of a part alone."""
        return Plan(Rule("*", *self.methods))

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_config` makes an equal strength of it."""
        return {"label": self.label, "methods": Rule("*", *self.methods).to_config()["methods"]}

    @classmethod
    def from_config(cls, config: object) -> Strength:
        """The strength of plain data.

        Raises:
            PlanError: an unknown method, or a value out of range.
        """
        if not isinstance(config, dict) or not isinstance(config.get("label"), str):
            raise PlanError(f"a strength is {config!r}, expected a mapping with the keys label and methods")
        return cls(config["label"], Rule.from_config({"tensors": "*", "methods": config.get("methods", [])}).methods)


StrengthLike = float | Method | Sequence[Method] | Strength
STRENGTHS: tuple[StrengthLike, ...] = (0.2, 0.4, 0.6, 0.8, Interval(4), Interval(2))


def strengths_of(values: Iterable[Any]) -> tuple[Strength, ...]:
    """The strengths of these values, each with a label of its own.

    Raises:
        SearchError: there are none, one of the values is no strength, or two have the same label.
        PlanError: as for :meth:`Strength.of`.
    """
    if isinstance(values, (str, float, Strength)) or not isinstance(values, Iterable):
        raise SearchError(f"strengths is {values!r}, expected a list such as [0.2, 0.4, Interval(4)]")
    strengths = tuple(map(Strength.of, values))
    if not strengths:
        raise SearchError("strengths is empty, expected a list such as [0.2, 0.4, Interval(4)]")
    labels = [strength.label for strength in strengths]
    for label in labels:
        if labels.count(label) > 1:
            raise SearchError(
                f"two strengths are called {label!r}: leave one out, or name them as in "
                "Strength('wide', (Interval(4, 1.0),))"
            )
    return strengths
