"""The points a search has measured, and those that none other beats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log
from typing import Any

from lightning_compress.errors import SearchError

Point = tuple[float, int, float]


@dataclass(frozen=True)
class Frontier:
    """Measured points ``(strength, bytes, score)``, by rising bytes; each has a higher score than all smaller ones."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Frontier:
        """The points that none other beats in both bytes and score."""
        kept: list[Point] = []
        for point in sorted((p for p in points if isfinite(p[2])), key=lambda p: (p[1], -p[2])):
            if not kept or point[2] > kept[-1][2]:
                kept.append(point)
        return cls(tuple(kept))

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
        """The score to expect of so many bytes, between two points by the logarithm of the bytes; None beyond them."""
        for (_, fewer, low), (_, more, high) in pairwise(self.points):
            if fewer <= nbytes <= more:
                return low + (high - low) * log(nbytes / fewer) / log(more / fewer)
        return next((score for _, known, score in self.points if known == nbytes), None)
