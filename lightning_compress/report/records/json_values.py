"""Validated values from untrusted JSON: each function returns a value of one type or raises ``FormatError``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_compress.errors import FormatError
from lightning_compress.files import read_prefix

MAX_BYTES = 50_000_000
Table = tuple[tuple[float, ...], ...]


def read_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        FormatError: the file is not a JSON object, or has more than 50 MB.
        OSError: the file cannot be read.
    """
    text = read_prefix(str(path), MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise FormatError(f"{path} has more than the {MAX_BYTES} bytes that are read")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, Mapping):
        raise FormatError(f"{path} holds a JSON {type(content).__name__}, expected an object")
    return content


def number(value: object, what: str) -> float:
    """A number; NaN for ``null`` and for values that are not finite.

    Raises:
        FormatError: the value is not a number.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"{what} is {_brief(value)}, expected a number")
    try:
        found = float(value)
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def text(value: object, what: str) -> str:
    """A string; empty for ``null``.

    Raises:
        FormatError: the value is not a string.
    """
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{what} is {_brief(value)}, expected text")
    return value or ""


def items(value: object, what: str, length: int | None = None) -> list[Any]:
    """A list, of the given length.

    Raises:
        FormatError: the value is not a list, or has another length.
    """
    if not isinstance(value, list):
        raise FormatError(f"{what} is {_brief(value)}, expected a list")
    if length is not None and len(value) != length:
        raise FormatError(f"{what} has {len(value)} items, expected {length}")
    return value


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """A JSON object; empty for ``null``.

    Raises:
        FormatError: the value is not an object.
    """
    if value is not None and not isinstance(value, Mapping):
        raise FormatError(f"{what} is {_brief(value)}, expected an object")
    return value or {}


def table(value: object, what: str, rows: int, columns: int) -> Table:
    """A table of numbers ``[rows, columns]``.

    Raises:
        FormatError: the value is not such a table, or has another shape.
    """
    return tuple(
        tuple(number(cell, f"{what}[{index}]") for cell in items(row, f"{what}[{index}]", columns))
        for index, row in enumerate(items(value, what, rows))
    )


def _brief(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:39] + '…'}"
