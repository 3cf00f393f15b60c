"""Rows of the experiments as curves: points, and the bootstrap interval around each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import TypeVar

from recipes.paper.results.rows import Compared

Pairs = list[tuple[float, float]]
Key = TypeVar("Key")
Item = TypeVar("Item")
Point = TypeVar("Point", bound=Compared)


def grouped(rows: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The rows of each key, in order of first appearance."""
    groups: dict[Key, list[Item]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def bleu_curves(
    groups: Mapping[str, Iterable[Point]], x: Callable[[Point], float], zero: float
) -> tuple[dict[str, Pairs], dict[str, Pairs]]:
    """Curves of BLEU by rising x, and the 95 % interval of each point.

    Args:
        groups: name of a curve → its rows.
        x: x value of a row.
        zero: y of the exact weights: their BLEU, or 0 for changes.

    Returns:
        name → ``(x, y)``, and name → ``(low, high)``; NaN where a row has no BLEU.
    """
    ordered = {name: sorted(rows, key=x) for name, rows in groups.items()}
    points = {name: [(x(row), _above(zero, row.drop)) for row in rows] for name, rows in ordered.items()}
    bands = {name: [(_above(zero, row.high), _above(zero, row.low)) for row in rows] for name, rows in ordered.items()}
    return points, bands


def _above(zero: float, drop: float | None) -> float:
    return nan if drop is None else zero - drop
