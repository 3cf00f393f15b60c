"""How the drop in score grows as a file shrinks, from few and noisy points.

A quantizer's squared error grows fourfold with each doubling of its step, and the drop follows the error; so the drop
grows as a power of the file's size. Around the curve ``drop ∝ bytes⁻ʳᵃᵗᵉ`` single drops scatter: greedy search turns
words over that were nearly even, whatever the size of the error. How much is not known either, and is learned from the
points as rate and place of the curve are, by Bayes' rule on a grid of them.

The score of the exact weights is such a draw too. Where it was lucky, every file seems to lose something, however large
it is, and where it was not, too little. So this luck, which all drops share, is learned as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Translation models, quantized on uniform grids to an eighth and less, lose with the 2nd to 6th power.
_RATES = torch.logspace(math.log10(0.5), math.log10(20.0), 12, dtype=torch.float64)
_USUAL_RATE, _RATE_SPREAD = 4.0, 0.5
# Multiples of the expected scatter, and how far from it is nothing unusual, in the logarithm.
_SCATTERS = torch.tensor([0.03, 0.15, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
_SCATTER_SPREAD = 0.7
_USUAL_SCATTER = 0.15  # of the allowed drop, where the score does not tell its noise
_LUCK = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)  # multiples of the scatter, which is their deviation too
_SHARED = 0.5  # of its noise: the rest lies in the choice of sentences, which is the same for every file
_UNEVENNESS = 0.1  # of a drop, by which the true curve may part from a power: large drops tell little of small ones
_BEYOND, _PLACES = 1.5, 100
_SATURATION = 20.0  # drops of so many times what is allowed, and larger ones, tell only that it is too far
_TAILS = 8  # degrees of freedom
_NEGLIGIBLE = 1e-4  # weight of a curve, relative to the likeliest


def chances(points: Sequence[tuple[float, float]], sizes: Tensor, allowed: float, deviation: float = 0.0) -> Tensor:
    """How probable it is that a file of each size loses no more than allowed.

    Args:
        points: ``(size, drop)`` of what was measured, at least one; sizes are logarithms of bytes.
        sizes: ``[n]`` float64.
        allowed: drop, at least 0.
        deviation: standard deviation of a drop as the score tells it, 0 where it does not.

    Returns:
        ``[n]`` float64, between 0 and 1.
    """
    known = torch.tensor(points, dtype=torch.float64)
    unit = _unit(known[:, 1], allowed, deviation)
    usual = _SHARED * deviation or _USUAL_SCATTER * unit
    reach = torch.cat([known[:, 0], sizes])
    places = torch.linspace(float(reach.min()) - _BEYOND, float(reach.max()) + _BEYOND, _PLACES, dtype=torch.float64)
    rate, place = (axis.reshape(-1) for axis in torch.meshgrid(_RATES, places, indexing="ij"))
    # Axes: scatter, luck, rate and place, points. What does not depend on the second is not spread over it.
    spread, bound = usual * _SCATTERS[:, None], _SATURATION * unit
    shift = spread * _LUCK
    curve = unit * _powers(rate, place, known[:, 0])
    variance = spread[..., None] ** 2 + (_UNEVENNESS * curve) ** 2
    errors = (curve + shift[:, :, None, None]).clamp_(max=bound).sub_(known[:, 1].clamp(max=bound))
    # Student's distribution, not Gauss's: one score far off says that it is lucky, not that the curve is wrong.
    surprise = (_TAILS + 1) / 2 * errors.square_().div_(_TAILS * variance[:, None]).log1p_().sum(-1)
    surprise += variance.log().sum(-1)[:, None] / 2
    surprise += ((rate / _USUAL_RATE).log() / _RATE_SPREAD) ** 2 / 2
    surprise += ((_SCATTERS.log() / _SCATTER_SPREAD) ** 2 / 2)[:, None, None] + (_LUCK**2 / 2)[:, None]

    weight = (surprise.min() - surprise).exp()
    scatters, lucks, curves = (weight > _NEGLIGIBLE).nonzero(as_tuple=True)
    weight = weight[scatters, lucks, curves]
    room = ((allowed - shift) / spread)[scatters, lucks][:, None]
    room = room - (unit * _powers(rate, place, sizes))[curves] / spread[scatters]
    found: Tensor = weight @ torch.special.ndtr(room) / weight.sum()
    return found


def _unit(drops: Tensor, allowed: float, deviation: float) -> float:
    """A drop of the size that matters, above 0."""
    positive = drops[(drops > 0) & drops.isfinite()]
    return max(allowed, deviation) or (float(positive.min()) if len(positive) else 1.0)


def _powers(rate: Tensor, place: Tensor, sizes: Tensor) -> Tensor:
    """``[curves, sizes]``: 1 at the place of a curve, and more for what is smaller."""
    return (rate[:, None] * (place[:, None] - sizes)).clamp(-60, 60).exp()
