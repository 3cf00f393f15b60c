"""The measured points, and the CSV that keeps them between runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from lightning_compress.search import pareto_frontier


@dataclass(frozen=True)
class Point:
    """One measured file.

    Attributes:
        model, method, setting, split: what was measured on which text.
        bytes: size of the file on disk.
        ratio: bytes of the fp32 tensors over ``bytes``.
        bleu: of the weights read back from the file.
        change: ``bleu`` less that of the fp32 weights.
        seconds: to make the file, wall time.
        inputs: digest of the weights and of the code that made the file.
        content: digest of the weights read back.
        evaluations: how often the score of a candidate was taken to make the file.
    """

    model: str
    method: str
    setting: str
    split: str
    bytes: int
    ratio: float
    bleu: float
    change: float
    seconds: float
    inputs: str
    content: str
    evaluations: int = 0

    @property
    def place(self) -> tuple[str, str, str, str]:
        """The key of a point."""
        return self.model, self.method, self.setting, self.split


def frontier_of(points: Iterable[Point]) -> list[Point]:
    """The Pareto frontier: points that no other beats in both ratio and BLEU, by rising ratio and falling BLEU."""
    return pareto_frontier(points, cost=lambda point: -point.ratio, value=lambda point: point.bleu)[::-1]


COLUMNS = [field.name for field in fields(Point)]
_NEEDED = [field.name for field in fields(Point) if field.default is MISSING]
_TYPES = {int: ("bytes", "evaluations"), float: ("ratio", "bleu", "change", "seconds")}
_NUMBERS = {name: number for number, names in _TYPES.items() for name in names}


def read_points(path: Path) -> list[Point]:
    """The points of a CSV file, which may lack the last column.

    Raises:
        ValueError: the columns are others, or a row does not fit them.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if names != COLUMNS[: max(len(names), len(_NEEDED))]:
            raise ValueError(f"{path} has the columns {names}, expected {COLUMNS}: measure into another folder")
        return [_point(path, reader.line_num, row) for row in reader]


def _point(path: Path, line: int, row: dict[str, str]) -> Point:
    try:
        return Point(**{name: _NUMBERS.get(name, str)(row[name]) for name in COLUMNS if name in row})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}, line {line}: {error}; take the row out to measure it again") from error


def write_points(path: Path, points: Iterable[Point]) -> None:
    """Write a CSV file; it appears as a whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    unfinished.replace(path)


class Store:
    """Points by place, written to disk with each new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._points = {point.place: point for point in read_points(path)} if path.exists() else {}

    def __iter__(self) -> Iterator[Point]:
        return iter(self._points.values())

    def find(self, place: tuple[str, str, str, str], inputs: str) -> Point | None:
        """The point of a place, if it was made of the same inputs."""
        point = self._points.get(place)
        return point if point is not None and point.inputs == inputs else None

    def bleu_of(self, model: str, split: str, content: str) -> float | None:
        """BLEU of the same restored weights, whatever method and file they came from."""
        return next((p.bleu for p in self if (p.model, p.split, p.content) == (model, split, content)), None)

    def add(self, point: Point) -> None:
        """Keep a point, in place of an earlier one at the same place."""
        self._points[point.place] = point
        write_points(self.path, self)

    def keep_only(self, model: str, method: str, settings: set[str]) -> None:
        """Drop the points of settings that a method no longer offers for a model."""
        kept = [p for p in self if (p.model, p.method) != (model, method) or p.setting in settings]
        if len(kept) != len(self._points):
            self._points = {point.place: point for point in kept}
            write_points(self.path, kept)
