"""Checks of the arguments of callbacks. Each raises a CallbackError with the value received and what is expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike, fspath
from typing import TypeVar

from lightning_compress.errors import CallbackError, CompressionError

_T = TypeVar("_T")


def check_choice(name: str, value: object, choices: Sequence[str], *, optional: bool = False) -> None:
    """Require one of several names."""
    if optional and value is None:
        return
    if not (isinstance(value, str) and value in choices):
        raise CallbackError(f"{name}={value!r} is not known: write {listed(choices)}")


def check_whole_number(name: str, value: object, least: int, *, optional: bool = False) -> None:
    """Require a whole number from ``least``; a bool is not one."""
    if optional and value is None:
        return
    if not (is_whole(value) and value >= least):  # type: ignore[operator]
        raise CallbackError(f"{name} is {value!r}, expected a whole number from {least}{_or_none(optional)}")


def check_number(name: str, value: object, *, optional: bool = False) -> None:
    """Require a finite number from 0; a bool is not one."""
    if optional and value is None:
        return
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value >= 0):  # type: ignore[arg-type, operator]
        raise CallbackError(f"{name} is {value!r}, expected a finite number from 0{_or_none(optional)}")


def check_flag(name: str, value: object) -> None:
    """Require True or False."""
    if not isinstance(value, bool):
        raise CallbackError(f"{name} is {value!r}, expected True or False")


def check_text(name: str, value: object, expected: str) -> None:
    """Require None or a printable text that is not empty."""
    if value is not None and not (isinstance(value, str) and value and value.isprintable()):
        raise CallbackError(f"{name} is {value!r:.80}, expected {expected}")


def check_path(name: str, value: object) -> None:
    """Require a path that is not empty."""
    if not isinstance(value, (str, PathLike)) or not fspath(value):
        raise CallbackError(f"{name} is {value!r:.80}, expected a path")


def check_function(name: str, value: object, signature: str) -> None:
    """Require None or something that can be called."""
    if value is not None and not callable(value):
        raise CallbackError(f"{name} is {value!r}, expected a function: {signature}")


def check_calibration(value: object, *, optional: bool = True, methods: Sequence[str] = ("loss",)) -> None:
    """Require batches with one of several methods of a module and a batch, or None."""
    if optional and value is None:
        return
    if not any(callable(getattr(value, method, None)) for method in methods):
        needed = " or ".join(f"{method}(module, batch)" for method in methods)
        raise CallbackError(
            f"calibration is a {type(value).__name__} without {needed}: give it such a method, and __iter__, which "
            "gives the batches"
        )
    if not hasattr(value, "__iter__"):
        raise CallbackError(f"calibration is a {type(value).__name__} without __iter__: give it that method")


def check_texts(name: str, value: object, what: str, *, ordered: bool = False) -> None:
    """Require a list of texts; a single text is not one, and a set only if no order is needed."""
    is_list = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    is_list = is_list and (hasattr(value, "__getitem__") or not ordered)
    if not (is_list and all(isinstance(text, str) for text in value)):  # type: ignore[attr-defined]
        raise CallbackError(f"{name} is {value!r:.80}, expected a list of {what}")


def check_classes(value: object) -> None:
    """Require None or a mapping of class names to a pattern or patterns."""
    if value is None:
        return
    if not (isinstance(value, Mapping) and all(isinstance(name, str) for name in value)):
        raise CallbackError(f"classes is {value!r:.80}, expected a mapping such as {{'attention': '*attn*'}}")
    for name, patterns in value.items():
        if not isinstance(patterns, str):
            check_texts(f"classes[{name!r}]", patterns, "patterns of tensor names such as ['*attn*']")


def checked(check: Callable[..., _T], value: object) -> _T:
    """What a check of another package returns; its error becomes a CallbackError.

    Raises:
        CallbackError: the check fails.
    """
    try:
        return check(value)
    except CompressionError as error:
        raise CallbackError(str(error)) from error


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; a bool is not one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def listed(choices: Sequence[str]) -> str:
    """Names as a list in a sentence.

    >>> listed(["all", "best", "last"])
    "'all', 'best' or 'last'"
    """
    *first, last = map(repr, choices)
    return f"{', '.join(first)} or {last}" if first else last


def _or_none(optional: bool) -> str:
    return ", or None" if optional else ""
