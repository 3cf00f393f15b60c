"""The contract of a method: its class describes itself, so that no other code needs to know the class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.weights import Cut

# At most one method of each role stands in a rule, in this order.
ROLES = ("prune", "factor", "quantize", "store")
_OF_EVERY_ROLE = ("holds_zero", "label", "scaled")  # besides id, role and lossy, whose values are checked
_OF_ROLE = {
    "prune": ("share", "group", "fit"),
    "factor": ("factor",),
    "quantize": ("takes_factors", "group", "fit"),
    "store": ("store", "quantize"),
}


class Method(Protocol):
    """One step of a rule: a frozen dataclass whose fields are the method's parameters, plain data for YAML and JSON.

    A method of the role ``quantize`` is also a :class:`~lightning_compress.quantize.Quantizer`, one of the role
    ``store`` a :class:`~lightning_compress.quantize.Storage`.

    Attributes:
        id: its name in plans. Files store their plan, so an id never changes its meaning.
        role: one of ROLES.
        lossy: whether restored weights differ from their source.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    id: ClassVar[str]
    role: ClassVar[str]
    lossy: ClassVar[bool]

    @property
    def holds_zero(self) -> bool:
        """Whether weights that ``Prune`` set to 0 come back as exact 0, so that ``Prune`` may stand before it."""
        ...

    @property
    def label(self) -> str:
        """A short description with the main parameter, for tables and charts."""
        ...

    def scaled(self, factor: float) -> Method:
        """The method with a step this many times as large; itself where it has no step."""
        ...


class Pruner(Method, Protocol):
    """A method of the role ``prune``."""

    @property
    def share(self) -> float | None:
        """The share of the weights that is set to 0 (0 to 1); None where it depends on the weights."""
        ...

    def group(self, name: str, class_name: str) -> str:
        """Key of the tensors that are ranked together with this one."""
        ...

    def fit(self, tensors: Sequence[Tensor]) -> Cut:
        """The weights of one group of tensors that are set to 0."""
        ...


class Factoring(Method, Protocol):
    """A method of the role ``factor``."""

    def factor(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """Left ``[rows, k]`` and right ``[k, columns]`` factor of a tensor; None where it stays whole."""
        ...


def check_contract(method: object) -> None:
    """Raise a PlanError that names what a class lacks to be a method."""
    if not isinstance(method, type):
        raise PlanError(f"{method!r} is no class; register the class of a method, such as Interval")
    parameters = getattr(method, "__dataclass_params__", None)
    if not is_dataclass(method) or not getattr(parameters, "frozen", False):
        raise PlanError(f"{method.__name__} is no frozen dataclass; write @dataclass(frozen=True) above the class")
    lacking = list(_lacking(method))
    if lacking:
        raise PlanError(
            f"{method.__name__} is no method, it lacks {', '.join(lacking)}; "
            "see docs/methods.md, 'A quantizer of your own'"
        )


def _lacking(method: type) -> Iterator[str]:
    """The parts of the contract that a dataclass does not have, or has with a value of another type."""
    role = getattr(method, "role", None)
    if not isinstance(getattr(method, "id", None), str) or not getattr(method, "id", None):
        yield "id (text)"
    if role not in ROLES:
        yield f"role (one of {', '.join(ROLES)})"
    if not isinstance(getattr(method, "lossy", None), bool):
        yield "lossy (True or False)"
    present = {*dir(method), *(field.name for field in fields(method))}
    for name in (*_OF_EVERY_ROLE, *_OF_ROLE.get(str(role), ())):
        if name not in present:
            yield name
