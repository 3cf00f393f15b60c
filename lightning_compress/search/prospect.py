"""Where to measure next: where most bytes are to be won, counted by how probable it is that they are.

A score is noisy, so a file that loses a little too much may only be unlucky, and smaller ones are not ruled out by it.
This is the search for the expected improvement (Jones, Schonlau and Welch 1998, "Efficient global optimization of
expensive black-box functions") along one line, on curves that only fall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_compress.search.curve import chances

_REACH = 0.5  # farthest step beyond everything measured, in the logarithm of bytes
WORTH = 0.25  # of the tolerance: what an evaluation must promise, as long as something else may promise more
_CANDIDATES = 200


@dataclass(frozen=True)
class Prospect:
    """What is known of one family. Sizes are logarithms of bytes.

    Attributes:
        points: ``(size, drop)`` of each measurement.
        smallest, largest: the sizes that the family reaches.
        allowed: the largest drop that holds.
        deviation: standard deviation of a drop, as far as the score tells it.
        tolerance: difference in size that is not worth a measurement.
        to_beat: a size that is reached by other means already.
        worth: share of the tolerance that a measurement must promise.
    """

    points: Sequence[tuple[float, float]]
    smallest: float
    largest: float
    allowed: float
    deviation: float
    tolerance: float
    to_beat: float = math.inf
    worth: float = WORTH

    def next_size(self, start: float) -> float | None:
        """The size to measure next, ``start`` if it is the first; None where too little is to be gained."""
        ceiling = min(self.largest, self.to_beat - self.tolerance)
        if ceiling < self.smallest:
            return None
        if not self.points:
            return min(max(start, self.smallest), ceiling)
        held = min((size for size, drop in self.points if drop <= self.allowed), default=math.inf)
        best = min(held, self.to_beat, self.largest + _REACH)
        low = max(self.smallest, min(size for size, _ in self.points) - _REACH)
        high = min(ceiling, best - self.tolerance)
        if high < low:
            return None
        sizes = torch.linspace(low, high, _CANDIDATES, dtype=torch.float64)
        gains = (best - sizes) * chances(self.points, sizes, self.allowed, self.deviation)
        for known, _ in self.points:
            gains[(sizes - known).abs() < self.tolerance] = 0
        promising = int(gains.argmax())
        return float(sizes[promising]) if float(gains[promising]) > self.worth * self.tolerance else None
