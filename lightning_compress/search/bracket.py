"""Where to measure next: the smallest file that still holds, between one that holds and one that does not.

A score is noisy, so a file that loses a little too much may only be unlucky: smaller ones are not ruled out by it. It
counts in the curve, which then says whether they are worth a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_compress.search.curve import crossing

_INSIDE, _OUTSIDE = 0.9, 1.1  # of the allowed drop, aimed at to move the one border of a bracket or the other
_REACH = 0.5  # farthest step beyond everything measured, in the logarithm of bytes
_MARGIN = 0.35  # part of a bracket at each of its ends in which nothing is measured
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
        fails = max((size for size in self._failed() if holds is None or size < holds), default=None)
        upper = min(ceiling, math.inf if holds is None else holds)
        lower = self.smallest if fails is None else fails
        gap = upper - lower
        if gap < self.tolerance:
            return None
        least = min(self.tolerance * 2 ** self._in_a_row(), gap)
        if holds is not None and fails is not None:
            low, high = lower + _MARGIN * gap, upper - max(_MARGIN * gap, min(least, gap / 2))
        elif holds is not None:
            low, high = max(lower, holds - _REACH), upper - least
        else:
            low, high = lower + least, min(upper, lower + _REACH)
        size = float(min(max(self._crossing(), low), max(low, high)))
        if not self.deviation and self._is_known(size):
            size = lower + gap / 2
        return None if self._is_known(size) else size

    def _is_known(self, size: float) -> bool:
        return any(abs(size - known) < self.tolerance / 2 for known, _ in self.points)

    def _failed(self) -> list[float]:
        """Sizes that lose too much beyond doubt. Where all fail, any: the way to what holds leads away from them."""
        doubt = self.deviation if any(drop <= self.allowed for _, drop in self.points) else 0.0
        return [size for size, drop in self.points if drop > self.allowed + doubt]

    def _in_a_row(self) -> int:
        """How many of the last measurements told the same: holds, or fails. Each makes the next step longer."""
        told = [drop <= self.allowed for _, drop in reversed(self.points)]
        return next((count for count, one in enumerate(told) if one != told[0]), len(told))

    def _crossing(self) -> float:
        """The size at which the curve loses a little less than is allowed, or a little more after one that held."""
        deviation = max(self.deviation, 0.05 * self.allowed, 1e-9)
        most = _SATURATION * max(self.allowed, deviation)
        points = [(size, min(drop, most)) for size, drop in self.points]
        aim = _OUTSIDE if self.points[-1][1] <= self.allowed and self._is_closed() else _INSIDE
        return crossing(points, aim * max(self.allowed, deviation / 10), deviation)

    def _is_closed(self) -> bool:
        return len({drop <= self.allowed for _, drop in self.points}) == 2
