"""Where to measure next: the smallest file that still holds, between one that holds and one that does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_compress.search.curve import fit_curve

_AIM = 0.9  # of the allowed drop: a point just inside is worth more than one just outside
_REACH = 0.5  # farthest step beyond everything measured, in the logarithm of bytes
_MARGIN = 0.2  # part of a bracket at each of its ends in which nothing is measured
_SATURATION = 20.0  # drops of so many times what is allowed, and larger ones, tell only that it is too far


@dataclass(frozen=True)
class Bracket:
    """What is known of one family. Sizes are logarithms of bytes.

    Attributes:
        points: ``(size, drop)`` of each measurement.
        smallest, largest: the sizes that the family reaches.
        allowed: the largest drop that holds.
        deviation: standard deviation of a drop.
        tolerance: difference in size that is not worth a measurement.
        to_beat: a size that is reached by other means already.
    """

    points: Sequence[tuple[float, float]]
    smallest: float
    largest: float
    allowed: float
    deviation: float
    tolerance: float
    to_beat: float = math.inf

    def next_size(self, start: float) -> float | None:
        """The size to measure next, ``start`` if it is the first; None where nothing more is to be gained."""
        ceiling = min(self.largest, self.to_beat - self.tolerance)
        if ceiling < self.smallest:
            return None
        if not self.points:
            return min(max(start, self.smallest), ceiling)
        holds = min((size for size, drop in self.points if drop <= self.allowed), default=None)
        fails = max(
            (size for size, drop in self.points if drop > self.allowed and (holds is None or size < holds)),
            default=None,
        )
        upper = min(ceiling, math.inf if holds is None else holds)
        lower = self.smallest if fails is None else fails
        gap = upper - lower
        if gap < self.tolerance:
            return None
        if holds is not None and fails is not None:
            low, high = lower + _MARGIN * gap, upper - _MARGIN * gap
        elif holds is not None:
            low, high = max(lower, holds - _REACH), upper - min(self.tolerance, gap)
        else:
            low, high = lower + min(self.tolerance, gap), min(upper, lower + _REACH)
        return min(max(self._crossing(), low), high)

    def _crossing(self) -> float:
        """The size at which the curve through all points loses nearly what is allowed."""
        most = _SATURATION * max(self.allowed, self.deviation, 1e-9)
        points = [(size, min(drop, most)) for size, drop in self.points]
        return fit_curve(points, max(self.deviation, 0.1 * self.allowed)).size_at(_AIM * self.allowed)
