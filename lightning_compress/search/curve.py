"""How the drop in score grows as a file shrinks, from few and noisy points.

A quantizer's squared error grows fourfold with each doubling of its step, and the drop follows the error; so the drop
grows as a power of the file's size. One curve ``drop = scale · size⁻ʳᵃᵗᵉ`` is fitted to all points of a family, which a
single lucky or unlucky score moves little, where a secant through two points would follow it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Translation models, quantized on uniform grids at 8 to 20 times fewer bytes, lose with the 2.5th to 6th power.
_USUAL_RATE, _SPREAD = 4.0, 0.5
_RATES = np.geomspace(0.5, 20.0, 60)
_UNEVENNESS = 0.2  # relative distance of a drop from the curve that is nothing unusual
_TINY = 1e-12


@dataclass(frozen=True)
class Curve:
    """``drop = scale · exp(−rate · (size − origin))``; sizes are logarithms of bytes."""

    scale: float
    rate: float
    origin: float

    def size_at(self, drop: float) -> float:
        """The size at which so much is lost."""
        return self.origin - math.log(max(drop, _TINY) / self.scale) / self.rate


def fit_curve(points: Sequence[tuple[float, float]], deviation: float) -> Curve:
    """The curve nearest to the points, with the usual rate where they do not tell it.

    Args:
        points: ``(size, drop)``, at least one; drops finite.
        deviation: standard deviation of a drop.
    """
    sizes, drops = np.array(points, np.float64).T
    origin = float(sizes.mean())
    trust = 1 / (deviation**2 + (_UNEVENNESS * drops) ** 2 + _TINY)
    best = (math.inf, Curve(_TINY, _USUAL_RATE, origin))
    for rate in map(float, _RATES):
        shape = np.exp(-rate * (sizes - origin))
        scale = max(float((trust * drops * shape).sum() / (trust * shape**2).sum()), _TINY)
        misfit = float((trust * (drops - scale * shape) ** 2).sum())
        cost = misfit + (math.log(rate / _USUAL_RATE) / _SPREAD) ** 2
        best = min(best, (cost, Curve(scale, rate, origin)), key=lambda pair: pair[0])
    return best[1]
