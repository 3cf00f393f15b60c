"""The surrogate: a Gaussian process that predicts the drop in score of files that were not evaluated.

Input of the process are the coordinates of a file: for each part of the model, the logarithm of the bytes that the
whole model would have at that part's strength. Output is the drop in score.

- Prior mean. The squared error of a quantizer grows fourfold when its step doubles, and the drop follows the error, so
  the drop is a power of the bytes, ``drop = unit · Σ share · exp(rate · (location - coordinate))``, summed over parts.
- Kernel. Single drops deviate from the mean, since greedy decoding changes words that were nearly tied. Two files share
  this deviation in proportion to the weights they have in common: the overlap kernel of categorical inputs (Ru et al.
  2020, "Bayesian optimisation over multiple continuous and categorical inputs"). A constant is added to it, for the
  deviation of the score of the exact weights is part of every drop (a random effect).
- Noise. Independent of one another, and proportional to the mean: the true function is no exact power.

Rate, location and the amplitude of the kernel are hyper-parameters. Each has a prior, and predictions are averaged over
a grid of them, weighted by their posterior probability.

Rasmussen and Williams 2006, "Gaussian processes for machine learning": algorithm 2.1 for the posterior, section 2.7 for
the mean, section 5.2 for hyper-parameters. Snoek et al. 2012, "Practical Bayesian optimization of machine learning
algorithms", section 3.1, for the average over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Prior median of the rate. Translation models, on uniform grids at an eighth of their size and less, have 2 to 6.
PRIOR_RATE = 4.0
_PRIOR_RATE_DEVIATION = 0.5  # of the logarithm
_RATES = torch.logspace(math.log10(0.5), math.log10(20.0), 12, dtype=torch.float64)
_LOCATION_MARGIN, _LOCATIONS = 1.5, 80  # the grid reaches this far beyond all coordinates, and has so many values
_AMPLITUDES = (0.03, 0.15, 0.5, 1.0, 2.0, 4.0)  # multiples of the prior median
_PRIOR_AMPLITUDE_DEVIATION = 0.7  # of the logarithm
# Prior median of the amplitude: a fraction of the bootstrap deviation, the rest of which comes from the choice of
# sentences and is the same for every file; without a bootstrap, a fraction of the drop that matters.
_AMPLITUDE_PER_DEVIATION, _AMPLITUDE_PER_UNIT = 0.5, 0.15
_MEAN_ERROR = 0.1  # standard deviation of the noise, as a fraction of the mean
_SATURATION = 20.0  # drops are cut off at this many units: larger ones carry no more information
_MIN_POSTERIOR = 1e-3  # hyper-parameters less probable than this, relative to the most probable, are left out
_JITTER = 1e-5  # units: the smallest standard deviation
_BATCH = 256  # files that are predicted together


@dataclass(frozen=True)
class TrialData:
    """The data that the surrogate is conditioned on.

    Attributes:
        coordinates: ``[trials, parts]`` float64: for each trial and part of the model, the logarithm of the bytes that
            the whole model would have at the part's strength. Equal numbers mean that the part is equal.
        drops: ``[trials]`` float64, at least one.
        shares: ``[parts]`` float64: the part's share of the weights; they sum to 1.
        max_drop: the largest drop of a feasible file, at least 0.
        deviation: standard deviation of a drop by the bootstrap; 0 where the score has no statistics.
    """

    coordinates: Tensor
    drops: Tensor
    shares: Tensor
    max_drop: float
    deviation: float = 0.0

    @property
    def unit(self) -> float:
        """The scale of drops: the one that matters to feasibility, above 0."""
        positive = self.drops[(self.drops > 0) & self.drops.isfinite()]
        return max(self.max_drop, self.deviation) or (float(positive.min()) if len(positive) else 1.0)


def probability_of_feasibility(data: TrialData, coordinates: Tensor) -> Tensor:
    """The posterior probability that the drop of other files is at most ``max_drop``.

    Args:
        data: trials so far.
        coordinates: ``[files, parts]`` float64, as in ``data``.

    Returns:
        ``[files]`` float64, between 0 and 1.
    """
    grid = _hyper_parameter_grid(data, coordinates)
    processes, losses = zip(*(_conditioned(data, *grid, multiple) for multiple in _AMPLITUDES), strict=True)
    posterior = torch.stack(losses)
    posterior = (posterior.min() - posterior).exp()
    posterior[posterior < _MIN_POSTERIOR] = 0
    total = torch.zeros(len(coordinates), dtype=torch.float64)
    for weights, process in zip(posterior, processes, strict=True):
        probable = weights.nonzero()[:, 0]
        kept = process.at(probable)
        for start in range(0, len(coordinates), _BATCH):
            batch = slice(start, start + _BATCH)
            total[batch] += weights[probable] @ kept.probability_of_feasibility(data, coordinates[batch])
    average: Tensor = total / posterior.sum()
    return average


@dataclass(frozen=True)
class _Process:
    """Gaussian processes with one amplitude and ``settings`` other hyper-parameters, conditioned on the trials.

    Attributes:
        rate, location: ``[settings]`` of the mean.
        variance: squared amplitude of the kernel.
        factor: ``[settings, trials, trials]``, lower Cholesky factor of the covariance of the trials.
        residuals: ``[settings, trials, 1]``, drops less their prior mean.
        unit: of drops.
    """

    rate: Tensor
    location: Tensor
    variance: float
    factor: Tensor
    residuals: Tensor
    unit: float

    def at(self, settings: Tensor) -> _Process:
        """Some of the settings."""
        chosen = (t[settings] for t in (self.rate, self.location, self.factor, self.residuals))
        rate, location, factor, residuals = chosen
        return _Process(rate, location, self.variance, factor, residuals, self.unit)

    def probability_of_feasibility(self, data: TrialData, coordinates: Tensor) -> Tensor:
        """``[settings, files]``, by the normal distribution of each drop."""
        mean, deviation = self._posterior(data, coordinates)
        probability: Tensor = torch.special.ndtr((data.max_drop - mean) / deviation)
        return probability

    def _posterior(self, data: TrialData, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation of the drops of files, ``[settings, files]`` each."""
        prior = _prior_mean(self.rate, self.location, coordinates, data.shares, self.unit)
        covariance = self.variance * _kernel(data.coordinates, coordinates, data.shares)
        columns = torch.cat([covariance.expand(len(prior), -1, -1), self.residuals], -1)
        whitened = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        of_files, of_residuals = whitened[..., :-1], whitened[..., -1:]
        mean = prior + (of_files * of_residuals).sum(1)
        variance = 2 * self.variance + (_MEAN_ERROR * prior) ** 2 - of_files.square().sum(1)
        return mean, variance.clamp(min=(_JITTER * self.unit) ** 2).sqrt()


def _hyper_parameter_grid(data: TrialData, coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Rate and location of the mean, ``[settings]`` each: every pair of values."""
    low, high = (float(bound) for bound in torch.cat([data.coordinates, coordinates]).aminmax())
    locations = torch.linspace(low - _LOCATION_MARGIN, high + _LOCATION_MARGIN, _LOCATIONS, dtype=torch.float64)
    rate, location = (axis.reshape(-1) for axis in torch.meshgrid(_RATES, locations, indexing="ij"))
    return rate, location


def _conditioned(data: TrialData, rate: Tensor, location: Tensor, multiple: float) -> tuple[_Process, Tensor]:
    """The processes with one amplitude, and the negative logarithm of each one's posterior probability ``[settings]``.

    The logarithm lacks a constant that is the same for all amplitudes.
    """
    unit = data.unit
    mean = _prior_mean(rate, location, data.coordinates, data.shares, unit)
    residuals = (data.drops.clamp(max=_SATURATION * unit) - mean)[..., None]
    variance = (multiple * (_AMPLITUDE_PER_DEVIATION * data.deviation or _AMPLITUDE_PER_UNIT * unit)) ** 2
    noise = torch.diag_embed((_MEAN_ERROR * mean) ** 2 + (_JITTER * unit) ** 2)
    factor = torch.linalg.cholesky(variance * _kernel(data.coordinates, data.coordinates, data.shares) + noise)
    whitened = torch.linalg.solve_triangular(factor, residuals, upper=False)[..., 0]
    loss = whitened.square().sum(-1) / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    loss += ((rate / PRIOR_RATE).log() / _PRIOR_RATE_DEVIATION) ** 2 / 2
    loss += (math.log(multiple) / _PRIOR_AMPLITUDE_DEVIATION) ** 2 / 2
    return _Process(rate, location, variance, factor, residuals, unit), loss


def _prior_mean(rate: Tensor, location: Tensor, coordinates: Tensor, shares: Tensor, unit: float) -> Tensor:
    """``[settings, files]``: one unit where all coordinates are at the location, more for smaller files."""
    powers = (rate[:, None, None] * (location[:, None, None] - coordinates)).clamp(-60, 60).exp()
    mean: Tensor = unit * powers @ shares
    return mean.clamp(max=_SATURATION * unit)


def _kernel(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """``[first, second]``: the share of the weights that two files have in common, plus the constant 1."""
    overlap: Tensor = (first[:, None] == second).double() @ shares
    return overlap + 1
