"""The rows of the experiments' CSV files, as typed dataclasses, and their reader.

A row is a measurement; nothing is interpolated.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from recipes.errors import ResultsError

Row = TypeVar("Row")


@dataclass(frozen=True)
class Compared:
    """BLEU of weights restored from a file, compared with that of the exact weights.

    Attributes:
        bleu: BLEU of the restored weights; None where nothing was found to measure.
        drop: BLEU of the exact weights less ``bleu``.
        low, high: borders of the drop's 95 % interval (paired bootstrap).
        significant: whether the paired bootstrap test finds the difference significant.
    """

    bleu: float | None
    drop: float | None
    low: float | None
    high: float | None
    significant: bool | None

    @property
    def change(self) -> float | None:
        """BLEU less that of the exact weights: negative where BLEU was lost."""
        return None if self.drop is None else -self.drop


@dataclass(frozen=True)
class Baseline:
    """The exact weights (``baseline.csv``): their fp32 bytes, their BLEU and how it was measured."""

    checkpoint: str
    class_path: str
    weights: int
    raw_bytes: int
    bleu: float
    signature: str
    sentences: int
    split: str
    beam: int


@dataclass(frozen=True)
class Pruned(Compared):
    """One point of table 1: ``share`` of the weights (a fraction) pruned by a scheme; bytes and ratio of the file."""

    scheme: str
    share: float
    bytes: int
    ratio: float
    zeros: float | None


@dataclass(frozen=True)
class Bin:
    """One bar of figure 1: how many weights of a state (``before`` or a scheme) lie between two values."""

    state: str
    left: float
    right: float
    weights: int


@dataclass(frozen=True)
class Tolerance(Compared):
    """Figure 5: the largest share of one class alone (a fraction) that keeps BLEU, found in so many ``points``."""

    class_name: str = field(metadata={"column": "class"})
    share: float | None
    bytes: int | None
    points: int | None


@dataclass(frozen=True)
class Restored(Compared):
    """Figure 6: an interval of so many bits whose indices become the left, middle or right of their piece."""

    bits: int
    restore: str
    coverage: float
    bytes: int


@dataclass(frozen=True)
class Covered(Compared):
    """Figure 7: the widest coverage (a fraction) that keeps BLEU with so many bits; None where none does."""

    bits: int
    coverage: float | None
    points: int | None


@dataclass(frozen=True)
class Rated:
    """Figure 8: the ratio by the paper's equation 2 (``formula``) and that of the file on disk."""

    bits: int
    coverage: float | None
    formula: float | None
    ratio: float | None
    bytes: int | None


@dataclass(frozen=True)
class Combined(Compared):
    """One row of table 2 or 3; ``formula`` is the ratio by the paper's formula, ``ratio`` that of the file."""

    step: str
    plan: str
    bytes: int
    formula: float | None
    ratio: float


def read(path: Path, row: type[Row]) -> tuple[Row, ...]:
    """Read a CSV file; no rows where the file is not there, since the experiment was not run.

    Args:
        path: the file.
        row: a dataclass of this module. Unknown columns are ignored.

    Raises:
        ResultsError: the file is not readable, lacks a column, or a cell is not of the type of its column.
    """
    if not path.exists():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = {f.name: (f.metadata.get("column", f.name), str(f.type)) for f in fields(row)}  # type: ignore[arg-type]
            _check_header(path, reader.fieldnames or (), [column for column, _ in columns.values()])
            return tuple(row(**_cells(path, reader.line_num, cells, columns)) for cells in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _check_header(path: Path, header: Any, wanted: list[str]) -> None:
    missing = [column for column in wanted if column not in header]
    if missing:
        raise ResultsError(
            f"{path} has no column {', '.join(missing)}; its header is {','.join(header)!r}. "
            "Remove the file and run its experiment again"
        )


def _cells(
    path: Path, line: int, cells: Mapping[str, str | None], columns: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    values = {}
    for name, (column, kind) in columns.items():
        text = (cells[column] or "").strip()
        try:
            values[name] = _value(text, kind)
        except ValueError as error:
            raise ResultsError(
                f"{path}, line {line}: column {column} holds {text!r}, expected {_EXPECTED[kind.split(' |')[0]]}. "
                "Remove the file and run its experiment again"
            ) from error
    return values


def _value(text: str, kind: str) -> Any:
    plain = kind.removesuffix(" | None")
    if not text and plain != kind:
        return None
    return _PARSERS[plain](text)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{value} is no measurement")
    return value


def _flag(text: str) -> bool:
    flags = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in flags:
        raise ValueError(f"{text} is neither true nor false")
    return flags[text.lower()]


_PARSERS: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": _number, "bool": _flag}
_EXPECTED = {"str": "text", "int": "a whole number", "float": "a finite number", "bool": "true or false"}
