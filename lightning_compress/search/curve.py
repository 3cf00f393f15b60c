"""How the drop in score grows as a file shrinks, from few and noisy points.

A quantizer's squared error grows fourfold with each doubling of its step, and the drop follows the error; so the drop
grows as a power of the file's size. One curve ``drop ∝ bytes⁻ʳᵃᵗᵉ`` is fitted to all points of a family, which a single
lucky or unlucky score moves little, where a secant through two points would follow it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Translation models, quantized on uniform grids to an eighth and less, lose with the 2.5th to 6th power.
USUAL_RATE, _SPREAD = 4.0, 0.5
_RATES = np.geomspace(0.5, 20.0, 40)
_BEYOND, _PLACES = 1.5, 600
_UNEVENNESS = 0.15  # relative distance of a drop from the curve that is nothing unusual


def crossing(points: Sequence[tuple[float, float]], drop: float, deviation: float) -> float:
    """The size at which the likeliest curve through all points has this drop.

    Args:
        points: ``(size, drop)``, at least one; sizes are logarithms of bytes, drops finite.
        drop: positive.
        deviation: standard deviation of a measured drop, positive.
    """
    sizes, drops = np.array(points, np.float64).T
    places = np.linspace(sizes.min() - _BEYOND, sizes.max() + _BEYOND, _PLACES)
    exponents = -_RATES[:, None, None] * (sizes - places[None, :, None])  # [rates, places, points]
    fitted = drop * np.exp(exponents.clip(-60, 60))
    variance = deviation**2 + (_UNEVENNESS * fitted) ** 2
    # Student's distribution, not Gauss's: one score far off says that it is unlucky, not that the curve is wrong.
    surprise = (np.log(variance) / 2 + 2 * np.log1p((drops - fitted) ** 2 / (3 * variance))).sum(-1)
    unusual = (np.log(_RATES / USUAL_RATE) / _SPREAD) ** 2 / 2
    likeliest = (surprise + unusual[:, None]).argmin()
    return float(places[likeliest % _PLACES])
