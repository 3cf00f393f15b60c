"""How strongly a part of a model is compressed: a share that is pruned, a number of bits, or any methods of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import PlanError, SearchError
from lightning_compress.plan import Method, Plan, Rule
from lightning_compress.prune import Prune
from lightning_compress.quantize import Half, Interval, Raw


@dataclass(frozen=True)
class Strength:
    """Methods that all weights of a part are treated with.

    Attributes:
        label: what it is called in tables and charts.
        methods: as a :class:`~lightning_compress.Rule` takes them.

    Raises:
        PlanError: the methods make no rule.
    """

    label: str
    methods: tuple[Method, ...]

    def __post_init__(self) -> None:
        Rule("*", *self.methods)

    @classmethod
    def of(cls, wish: Any) -> Strength:
        """The strength of a share that is pruned (0 to 1), a method, several methods, or of itself.

        Raises:
            SearchError: it is none of these.
            PlanError: a share out of range, or methods that make no rule.
        """
        if isinstance(wish, Strength):
            return wish
        if isinstance(wish, float):
            return cls.of(Prune(wish, "class-blind"))
        if isinstance(wish, Sequence) and not isinstance(wish, str):
            methods = tuple(wish)
        elif hasattr(type(wish), "id"):
            methods = (wish,)
        else:
            raise SearchError(
                f"a strength is {wish!r}, expected the share that is pruned, such as 0.2, or a method, such as "
                "Interval(4)"
            )
        Rule("*", *methods)
        return cls(" + ".join(_label(m) for m in methods if not isinstance(m, Raw)) or Raw.id, methods)

    @property
    def ratio(self) -> float | None:
        """The share that is pruned, where that is all that is done."""
        first, *others = self.methods
        if not isinstance(first, Prune) or not first.is_fraction or any(not isinstance(m, Raw) for m in others):
            return None
        return first.amount

    @property
    def plan(self) -> Plan:
        """The treatment of a part alone."""
        return Plan(Rule("*", *self.methods))

    def to_config(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_config` makes an equal strength of it."""
        return {"label": self.label, "methods": Rule("*", *self.methods).to_config()["methods"]}

    @classmethod
    def from_config(cls, config: Any) -> Strength:
        """The strength of plain data.

        Raises:
            PlanError: an unknown method, or a value out of range.
        """
        if not isinstance(config, dict) or not isinstance(config.get("label"), str):
            raise PlanError(f"a strength is {config!r}, expected a mapping with the keys label and methods")
        return cls(config["label"], Rule.from_config({"tensors": "*", "methods": config.get("methods", [])}).methods)


Wish = float | Method | Sequence[Method] | Strength
STRENGTHS: tuple[Wish, ...] = (0.2, 0.4, 0.6, 0.8, Interval(4), Interval(2))


def strengths_of(wishes: Iterable[Any]) -> tuple[Strength, ...]:
    """The strengths, each by a label of its own.

    Raises:
        SearchError: there is none, one is none, or two go by the same label.
        PlanError: as for :meth:`Strength.of`.
    """
    if isinstance(wishes, (str, float, Strength)) or not isinstance(wishes, Iterable):
        raise SearchError(f"strengths is {wishes!r}, expected a list such as [0.2, 0.4, Interval(4)]")
    strengths = tuple(map(Strength.of, wishes))
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


def _label(method: Method) -> str:
    if isinstance(method, Prune) and method.is_fraction:
        return f"prune {100 * method.amount:g} %"
    if isinstance(method, Interval):
        return f"{method.bits} bit{'s' if method.bits > 1 else ''}"
    if isinstance(method, Half):
        return "half precision"
    size = getattr(method, "step", None) or getattr(method, "amount", None)
    return method.id if size is None else f"{method.id} {size:g}"
