"""How the drop in score grows as a file shrinks, from few and noisy points.

A quantizer's squared error grows fourfold with each doubling of its step, and the drop follows the error; so the drop
grows as a power of the file's size, and each part of the model adds its share, by its own size. Around the curve
``drop ∝ bytes⁻ʳᵃᵗᵉ`` single drops scatter: greedy search turns words over that were nearly even, whatever the size of
the error. How much is not known either, and is learned from the points as rate and place of the curve are, by Bayes'
rule on a grid of them.

Given those three, drops are a Gaussian process (Rasmussen and Williams 2006, "Gaussian processes for machine learning",
chapter 2). A part of the model that is rounded as in another file brings the same luck along: two files share as much
of their scatter as they share weights. So where a file was lucky, one that differs from it in a part alone is lucky for
the rest. The score of the exact weights is such a draw too: where it was lucky, every file seems to lose something,
however large it is. This luck all drops share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Translation models, quantized on uniform grids to an eighth and less, lose with the 2nd to 6th power.
USUAL_RATE = 4.0
_RATES = torch.logspace(math.log10(0.5), math.log10(20.0), 12, dtype=torch.float64)
_RATE_SPREAD = 0.5
# Multiples of the expected scatter, and how far from it is nothing unusual, in the logarithm.
_SCATTERS = (0.03, 0.15, 0.5, 1.0, 2.0, 4.0)
_SCATTER_SPREAD = 0.7
_USUAL_SCATTER = 0.15  # of the allowed drop, where the score does not tell its noise
_SHARED = 0.5  # of its noise: the rest lies in the choice of sentences, which is the same for every file
_UNEVENNESS = 0.1  # of a drop, by which the true curve may part from a power: large drops tell little of small ones
_BEYOND, _PLACES = 1.5, 80
_SATURATION = 20.0  # drops of so many times what is allowed, and larger ones, tell only that it is too far
_NEGLIGIBLE = 1e-3  # weight of a curve, relative to the likeliest
_JITTER = 1e-5  # of what is allowed: two files of the same sizes are one
_AT_ONCE = 256  # files whose chances are computed together


@dataclass(frozen=True)
class Measured:
    """What is known of a family of files.

    Attributes:
        places: ``[n, parts]`` float64: for each file and part of the model, the logarithm of the bytes that the whole
            would have, were it all as strong as that part. Equal numbers say that the part is rounded alike.
        drops: ``[n]`` float64, of which there is one at least.
        shares: ``[parts]`` float64: the part's share of the weights; their sum is 1.
        allowed: drop, at least 0.
        deviation: standard deviation of a drop as the score tells it, 0 where it does not.
    """

    places: Tensor
    drops: Tensor
    shares: Tensor
    allowed: float
    deviation: float = 0.0

    @property
    def unit(self) -> float:
        """A drop of the size that matters, above 0."""
        positive = self.drops[(self.drops > 0) & self.drops.isfinite()]
        return max(self.allowed, self.deviation) or (float(positive.min()) if len(positive) else 1.0)


def chances(known: Measured, places: Tensor) -> Tensor:
    """How probable it is that other files lose no more than allowed.

    Args:
        known: what was measured.
        places: ``[m, parts]`` float64, as there.

    Returns:
        ``[m]`` float64, between 0 and 1.
    """
    unit = known.unit
    drops = known.drops.clamp(max=_SATURATION * unit)
    low, high = (float(bound) for bound in torch.cat([known.places, places]).aminmax())
    grid = torch.linspace(low - _BEYOND, high + _BEYOND, _PLACES, dtype=torch.float64)
    rate, place = (axis.reshape(-1) for axis in torch.meshgrid(_RATES, grid, indexing="ij"))
    curve = _curve(rate, place, known.places, known.shares, unit)
    errors = (drops - curve)[..., None]
    alike = _alike(known.places, known.places, known.shares)
    usual = _SHARED * known.deviation or _USUAL_SCATTER * unit

    surprise, factors, variances = [], [], []
    for multiple in _SCATTERS:
        variance = (multiple * usual) ** 2
        covariance = variance * (alike + 1) + torch.diag_embed((_UNEVENNESS * curve) ** 2 + (_JITTER * unit) ** 2)
        factor = torch.linalg.cholesky(covariance)
        whitened = torch.linalg.solve_triangular(factor, errors, upper=False)[..., 0]
        unlikely = whitened.square().sum(-1) / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        unlikely += ((rate / USUAL_RATE).log() / _RATE_SPREAD) ** 2 / 2
        surprise.append(unlikely + (math.log(multiple) / _SCATTER_SPREAD) ** 2 / 2)
        factors.append(factor)
        variances.append(variance)

    weights = torch.stack(surprise)
    weights = (weights.min() - weights).exp()
    weights[weights < _NEGLIGIBLE] = 0
    found = torch.zeros(len(places), dtype=torch.float64)
    for weight, factor, variance in zip(weights, factors, variances, strict=True):
        likely = weight.nonzero()[:, 0]
        process = _Process(rate[likely], place[likely], factor[likely], errors[likely], variance, unit)
        for start in range(0, len(places), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            found[some] += weight[likely] @ process.chances(known, places[some])
    total: Tensor = found / weights.sum()
    return total


@dataclass(frozen=True)
class _Process:
    """The Gaussian processes of some curves ``[curves]`` at one scatter."""

    rate: Tensor
    place: Tensor
    factor: Tensor
    errors: Tensor
    variance: float
    unit: float

    def chances(self, known: Measured, places: Tensor) -> Tensor:
        """``[curves, m]``"""
        curve = _curve(self.rate, self.place, places, known.shares, self.unit)
        shared = self.variance * (_alike(known.places, places, known.shares) + 1)
        columns = torch.cat([shared.expand(len(curve), -1, -1), self.errors], -1)
        whitened = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        of_places, of_errors = whitened[..., :-1], whitened[..., -1:]
        expected = curve + (of_places * of_errors).sum(1)
        left = 2 * self.variance + (_UNEVENNESS * curve) ** 2 - of_places.square().sum(1)
        deviation = left.clamp(min=(_JITTER * self.unit) ** 2).sqrt()
        found: Tensor = torch.special.ndtr((known.allowed - expected) / deviation)
        return found


def _curve(rate: Tensor, place: Tensor, places: Tensor, shares: Tensor, unit: float) -> Tensor:
    """``[curves, files]``: one unit where all parts are at the place of a curve, and more for what is smaller."""
    powers = (rate[:, None, None] * (place[:, None, None] - places)).clamp(-60, 60).exp()
    curve: Tensor = unit * powers @ shares
    return curve.clamp(max=_SATURATION * unit)


def _alike(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """``[first, second]``: the share of the weights that two files have in common."""
    alike: Tensor = (first[:, None] == second).double() @ shares
    return alike
