"""One rule: which tensors it selects, and the methods that treat them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, cast

from lightning_compress.errors import PlanError
from lightning_compress.plan.contract import ROLES, Factoring, Method, Pruner
from lightning_compress.plan.methods import METHODS, check_keys, check_method, method_from_config
from lightning_compress.quantize import Quantizer, Raw, Storage
from lightning_compress.weights import matches

_COMMON_NAMES = ("weight", "bias")
_NO_NAME = "\0"  # no pattern holds this character
_SELECTORS: dict[str, Literal["name", "class"]] = {"tensors": "name", "class": "class"}


@dataclass(frozen=True, init=False)
class Rule:
    """How the tensors that a pattern selects are treated.

    The methods nest as in the reference paper (section 3.4): ``Prune`` makes weights zero, a quantizer such as
    ``Interval`` turns weights into indices, ``Half`` (or ``Raw``, the default) keeps those that the quantizer leaves
    out. ``LowRank`` splits a matrix into two factors, which the methods after it treat. At least one is needed.
    Tensors that are not float16, bfloat16, float32 or float64 are kept exactly whatever the rule says.

    Args:
        pattern: of tensor names, or of class names; ``*`` is any run of characters, ``?`` any one.
        methods: at most one of each kind, in the order Prune, LowRank, a quantizer, Half or Raw.
        by: whether the pattern selects tensor names or classes.
        optional: whether the rule may find nothing in a model.

    Raises:
        PlanError: no methods, two of one kind, the wrong order, something that is no method, pruning before a method
            that does not hold zeros, factors before a quantizer that cannot take them.
    """

    pattern: str
    methods: tuple[Method, ...]
    by: Literal["name", "class"]
    optional: bool

    def __init__(
        self, pattern: str, *methods: Method, by: Literal["name", "class"] = "name", optional: bool = False
    ) -> None:
        if not isinstance(pattern, str) or not pattern or not _is_utf8(pattern):
            raise PlanError(f"a rule's pattern is {pattern!r}, expected text such as '*.bias' or '*'")
        if by not in ("name", "class"):
            raise PlanError(f"rule {pattern!r}: by is {by!r}, write 'name' or 'class'")
        if not methods:
            raise PlanError(f"rule {pattern!r} has no method; to keep the tensors exactly, write Raw()")
        if not isinstance(optional, bool):
            raise PlanError(f"rule {pattern!r}: optional is {optional!r}, write true or false")
        for method in methods:
            check_method(pattern, method)
        _check_order(pattern, methods)
        _check_zeros(pattern, methods)
        _check_factors(pattern, methods)
        for name, value in (
            ("pattern", pattern),
            ("methods", methods),
            ("by", by),
            ("optional", optional),
        ):
            object.__setattr__(self, name, value)

    @property
    def prune(self) -> Pruner | None:
        """The pruning method, if any."""
        return cast("Pruner | None", self._with_role("prune"))

    @property
    def factoring(self) -> Factoring | None:
        """The method that factors matrices, if any."""
        return cast("Factoring | None", self._with_role("factor"))

    @property
    def quantizer(self) -> Quantizer | None:
        """The quantizer, if any."""
        return cast("Quantizer | None", self._with_role("quantize"))

    @property
    def storage(self) -> Storage:
        """How the values are kept that the quantizer leaves out, and all values where there is no quantizer."""
        return cast("Storage | None", self._with_role("store")) or Raw()

    def _with_role(self, role: str) -> Method | None:
        return next((method for method in self.methods if method.role == role), None)

    def selects(self, names: Sequence[str], classes: Sequence[str]) -> bool:
        """Whether the rule covers a tensor that goes by these names and classes (its own and of those tied to it)."""
        return any(matches(self.pattern, n) for n in (names if self.by == "name" else classes))

    def singles_out(self, names: Sequence[str]) -> bool:
        """Whether the rule covers a tensor that goes by these names because of its own name.

        It does if it selects by name, and would not select a tensor of another name in the same module: ``*.betas`` and
        ``*running_*`` do, ``*`` and ``net.*`` do not. Where the own name is ``weight`` or ``bias``, as that of most
        tensors is, the pattern has to depend on the name of the module too: ``*.weight`` does not.
        """
        return self.by == "name" and any(
            matches(self.pattern, name) and not any(matches(self.pattern, other) for other in _renamed(name))
            for name in names
        )

    @property
    def is_lossy(self) -> bool:
        """Whether a method of the rule is lossy."""
        return any(method.lossy for method in self.methods)

    def to_config(self) -> dict[str, Any]:
        """Plain data for YAML or JSON; :meth:`from_config` makes an equal rule of it."""
        selector = next(key for key, by in _SELECTORS.items() if by == self.by)
        config: dict[str, Any] = {
            selector: self.pattern,
            "methods": [{method.id: asdict(method)} for method in self.methods],
        }
        return config | ({"optional": True} if self.optional else {})

    @classmethod
    def from_config(cls, config: object) -> Rule:
        """The rule of plain data.

        Raises:
            PlanError: an unknown key or method, or a value out of range.
        """
        known = {*_SELECTORS, "methods", "optional"}
        given = check_keys("a rule", config, known)
        selectors = [key for key in _SELECTORS if key in given]
        if len(selectors) != 1:
            raise PlanError(
                f"a rule has {selectors or 'no selector'}; write either 'tensors: PATTERN' or 'class: PATTERN'"
            )
        methods = given.get("methods", [])
        if not isinstance(methods, list):
            raise PlanError(f"methods is {methods!r}, expected a list such as [{{prune: {{amount: 0.15}}}}, half]")
        return cls(
            given[selectors[0]],
            *map(method_from_config, methods),
            by=_SELECTORS[selectors[0]],
            optional=given.get("optional", False),
        )


def _renamed(name: str) -> Iterator[str]:
    """The name with another last part; for ``weight`` and ``bias`` also with another part before it."""
    parts = name.split(".")
    for position in (-1, -2) if parts[-1] in _COMMON_NAMES and len(parts) > 1 else (-1,):
        other = parts.copy()
        other[position] = _NO_NAME * len(parts[position])
        yield ".".join(other)


def _is_utf8(pattern: str) -> bool:
    """Whether a file can hold the pattern; half of a surrogate pair has no UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in pattern)


def _check_order(pattern: str, methods: Sequence[Method]) -> None:
    """Raise a PlanError where two methods have one role, or the roles are not in their order."""
    places = [ROLES.index(method.role) for method in methods]
    if any(first >= second for first, second in pairwise(places)):
        prune, factor, quantize, store = (METHODS.with_role(role) for role in ROLES)
        raise PlanError(
            f"rule {pattern!r} has the methods {', '.join(m.id for m in methods)}; write at most one of each kind, in "
            f"the order {' or '.join(prune)}, {' or '.join(factor)}, a quantizer ({', '.join(quantize)}), "
            f"{' or '.join(store)}"
        )


def _check_zeros(pattern: str, methods: Sequence[Method]) -> None:
    """Raise a PlanError where a method after pruning does not keep the zeros."""
    if methods[0].role != "prune":
        return
    for method in methods[1:]:
        if not method.holds_zero:
            raise PlanError(
                f"rule {pattern!r}: {method.id} cannot hold the zeros that prune makes; leave one of the two out, or "
                "take a quantizer that holds zeros, such as interval"
            )


def _check_factors(pattern: str, methods: Sequence[Method]) -> None:
    """Raise a PlanError where the quantizer after a factoring does not take its factors."""
    by_role = {method.role: method for method in methods}
    if {"factor", "quantize"} <= set(by_role) and not cast("Quantizer", by_role["quantize"]).takes_factors:
        raise PlanError(
            f"rule {pattern!r}: {by_role['quantize'].id} takes no factors, which {by_role['factor'].id} makes; "
            "take another quantizer, such as k-means"
        )
