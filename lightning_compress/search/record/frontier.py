"""The Pareto frontier: the points that no other point dominates in both cost and value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log
from typing import Any, NamedTuple, TypeVar

from lightning_compress.errors import SearchError

T = TypeVar("T")


def pareto_frontier(points: Iterable[T], *, cost: Callable[[T], float], value: Callable[[T], float]) -> list[T]:
    """The points that no other dominates, by rising cost; each has a higher value than all cheaper ones.

    Of points with equal cost and value the first is kept.
    """
    frontier: list[T] = []
    for point in sorted(points, key=lambda point: (cost(point), -value(point))):
        if not frontier or value(point) > value(frontier[-1]):
            frontier.append(point)
    return frontier


class FrontierPoint(NamedTuple):
    """One evaluated file: the strength in its family, its bytes and its score."""

    strength: float
    nbytes: int
    score: float


@dataclass(frozen=True)
class Frontier:
    """The evaluated files that no other beats in both bytes and score, by rising bytes and score."""

    points: tuple[FrontierPoint, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, int, float]]) -> Frontier:
        """The frontier of files ``(strength, bytes, score)``; those without a finite score are left out."""
        finite = (point for point in (FrontierPoint(*point) for point in points) if isfinite(point.score))
        return cls(tuple(pareto_frontier(finite, cost=lambda point: point.nbytes, value=lambda point: point.score)))

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Frontier:
        """The frontier in the metrics of a file.

        Raises:
            SearchError: there is none: the file was made without a search.
        """
        try:
            points = metrics["search"]["frontier"]
            return cls.of((float(strength), int(nbytes), float(score)) for strength, nbytes, score in points)
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(
                "the file holds no frontier of a search: make it with smallest(…), with plan='auto' or with "
                "lightning-compress tune"
            ) from error

    def to_json(self) -> list[list[float]]:
        """Plain data for a file's metrics."""
        return [[round(strength, 6), nbytes, round(score, 6)] for strength, nbytes, score in self.points]

    def score_at(self, nbytes: int) -> float | None:
        """The score expected at a size, interpolated in the logarithm of bytes; None outside the frontier."""
        for (_, fewer, low), (_, more, high) in pairwise(self.points):
            if fewer <= nbytes <= more:
                return low + (high - low) * log(nbytes / fewer) / log(more / fewer)
        return next((point.score for point in self.points if point.nbytes == nbytes), None)
