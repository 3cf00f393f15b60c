"""The hyper-parameters of a module, each exactly as it is or left out by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_compress.weights.metadata.exact_json import NotHeldError, dump, parse

_SEPARATE = (None, "kwargs")  # what Lightning notes if each hyper-parameter is an argument of its own


@dataclass(frozen=True)
class HyperParameters:
    """Lightning's record of the constructor's arguments.

    Attributes:
        held: name → value, in their order.
        left_out: names of those that cannot be stored exactly.
        argument: name of the constructor's argument that takes all of them together; None or ``"kwargs"`` if each is an
            argument of its own.
    """

    held: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    argument: str | None = None

    @classmethod
    def of(cls, values: object, argument: object = None, *, typed: bool = False) -> HyperParameters:
        """Sort values into those that can be stored exactly and the names of the others.

        Lightning gives the constructor a plain dictionary of the items, whatever held them, except for a container of
        OmegaConf: that one comes back as its own type, which cannot be stored.

        Args:
            values: a mapping, or an object such as a namespace whose attributes are the hyper-parameters.
            argument: ``hparams_name`` of the checkpoint, or ``_hparams_name`` of the module.
            typed: whether the checkpoint has ``hparams_type``, which Lightning writes for OmegaConf alone.
        """
        name = argument if isinstance(argument, str) else None
        if (typed or is_omegaconf(values)) and name not in _SEPARATE:
            return cls(left_out=(printable(name),), argument=name)
        items = dict(values if isinstance(values, Mapping) else getattr(values, "__dict__", {}))
        held, left_out = exact_items(items)
        return cls(held, left_out, name if items else None)


def exact_items(items: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Copies of the values that can be stored exactly, and the names of the others."""
    held: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in items.items():
        copy = exact_copy(name, value)
        if copy is None:
            left_out.append(printable(name))
        else:
            held.update(copy)
    return held, tuple(left_out)


def printable(name: object) -> str:
    """A name as text that UTF-8 can hold."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def exact_copy(name: object, value: object, max_bytes: int | None = None) -> dict[str, Any] | None:
    """The name and a copy of the value; None if they cannot be stored exactly, or not in ``max_bytes`` of text."""
    if type(name) is not str:
        return None
    try:
        text = dump({name: value})
        if max_bytes is not None and len(text.encode()) > max_bytes:
            return None
        copy: dict[str, Any] = parse(text)
    except (NotHeldError, RecursionError):
        return None
    return copy


def is_omegaconf(values: object) -> bool:
    """Whether the value is a container of OmegaConf, which need not be installed."""
    return any(kind.__module__.partition(".")[0] == "omegaconf" for kind in type(values).__mro__)
