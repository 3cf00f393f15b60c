"""Gaussian processes with given hyper-parameters, conditioned on the trials of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_compress.search.optimize.trial_data import PRIOR_RATE, TrialData, overlap_of

_PRIOR_RATE_DEVIATION = 0.5  # of the logarithm
_DIVERGENCE_RATE_DEVIATION = 0.25  # likewise, where divergences are known
_RATES = torch.logspace(math.log10(0.5), math.log10(20.0), 12, dtype=torch.float64)
# The grid reaches this far below and above the trials, and has so many values. A location far above explains that all
# trials lose much, with the smallest rates that are probable.
_BELOW, _ABOVE, _LOCATIONS = 2.0, 3.0, 100
AMPLITUDES = (0.03, 0.15, 0.5, 1.0, 2.0, 4.0)  # multiples of the prior median
_PRIOR_AMPLITUDE_DEVIATION = 0.7  # of the logarithm
# Prior median of the amplitude: a fraction of the bootstrap deviation, the rest of which comes from the choice of
# sentences and is the same for every file; without a bootstrap, a fraction of the drop that matters.
_AMPLITUDE_PER_DEVIATION, _AMPLITUDE_PER_UNIT = 0.5, 0.15
_USUAL_DEVIATION = 1.0  # of the logarithm of the prior mean of the trials, around what such files lose as a rule
_MEAN_ERROR = 0.1  # standard deviation of the noise, as a fraction of the mean
_SATURATION = 20.0  # drops are cut off at this many units: larger ones carry no more information
_JITTER = 1e-5  # units: the smallest standard deviation


@dataclass(frozen=True)
class Files:
    """Files to predict: their coordinates for the kernel, and the inputs and shares of the prior mean."""

    data: TrialData
    coordinates: Tensor
    inputs: Tensor
    shares: Tensor

    def at(self, batch: slice) -> Files:
        """Some of the files."""
        return Files(self.data, self.coordinates[batch], self.inputs[batch], self.shares)


class WithReading(NamedTuple):
    """The true drops of files together with what an evaluation of each would read; ``[settings, files]`` each.

    Attributes:
        mean, variance: of the true drop.
        covariance: of the true drop with the reading.
        read, of_reading: mean and variance of the reading.
    """

    mean: Tensor
    variance: Tensor
    covariance: Tensor
    read: Tensor
    of_reading: Tensor


@dataclass(frozen=True)
class Process:
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

    def at(self, settings: Tensor) -> Process:
        """Some of the settings."""
        chosen = (t[settings] for t in (self.rate, self.location, self.factor, self.residuals))
        rate, location, factor, residuals = chosen
        return Process(rate, location, self.variance, factor, residuals, self.unit)

    def moments(self, files: Files) -> Tensor:
        """``[3, settings, files]``: mean and mean square of true drops, and the probability that they are allowed."""
        _, mean, variance = self._conditioned(files)
        allowed = torch.special.ndtr((files.data.max_drop - mean) / variance.sqrt())
        return torch.stack([mean, mean.square() + variance, allowed])

    def with_reading(self, files: Files) -> WithReading:
        """The true drops of files together with what an evaluation of each would read.

        The sampling noise of a new reading is in part that of the readings so far, and this part is known to the extent
        that it explains them.
        """
        whitened, mean, variance = self._conditioned(files)
        own, shared = self._noise_of_evaluation(files.data)
        columns = torch.cat([shared.expand(len(self.rate), -1)[..., None], self.residuals], -1)
        luck, residuals = torch.linalg.solve_triangular(self.factor, columns, upper=False).split(1, -1)
        read = mean + (luck * residuals).sum(1)
        covariance = variance - (whitened * luck).sum(1)
        of_reading = 2 * covariance - variance + own - luck.square().sum(1)
        return WithReading(mean, variance, covariance, read, of_reading.clamp(min=(_JITTER * self.unit) ** 2))

    def _conditioned(self, files: Files) -> tuple[Tensor, Tensor, Tensor]:
        """Whitened covariance of files with the trials, ``[settings, trials, files]``; and the posterior mean and
        variance of their drops, ``[settings, files]`` each.
        """
        data = files.data
        prior = _prior_mean(self.rate, self.location, files.inputs, files.shares, self.unit)
        own = (1 - data.noise_share) * self.variance
        overlap = overlap_of(data.coordinates, files.coordinates, data.shares)
        covariance = own * overlap + (self.variance if data.is_measured else 0.0)
        columns = torch.cat([covariance.expand(len(prior), -1, -1), self.residuals], -1)
        whitened = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        of_files, of_residuals = whitened[..., :-1], whitened[..., -1:]
        mean = prior + (of_files * of_residuals).sum(1)
        constant = self.variance if data.is_measured else 0.0
        variance = own + constant + (_MEAN_ERROR * prior) ** 2 - of_files.square().sum(1)
        return of_files, mean, variance.clamp(min=(_JITTER * self.unit) ** 2)

    def _noise_of_evaluation(self, data: TrialData) -> tuple[float, Tensor]:
        """Variance of the sampling noise of one more drop, at least a little, and its covariance with the trials."""
        least = (_JITTER * data.unit) ** 2 * _JITTER
        if data.noise is None:
            own = data.noise_share * self.variance
            return max(own, least), torch.zeros(len(data.drops), dtype=torch.float64)
        of_trials, trials = data.noise.diagonal(), len(data.noise)
        scale = (of_trials[:, None] * of_trials).sqrt()
        between = float((data.noise.sum() - of_trials.sum()) / (scale.sum() - of_trials.sum()).clamp(min=least))
        correlation = min(max(between, 0.0), 1.0) if trials > 1 else 0.5
        own = max(float(of_trials.mean()), least)
        return own, correlation * (own * of_trials).sqrt()


def hyper_parameter_grid(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Rate and location of the mean, ``[settings]`` each: every pair of values; from the inputs of the trials."""
    low, high = (float(bound) for bound in inputs.aminmax())
    locations = torch.linspace(low - _BELOW, high + _ABOVE, _LOCATIONS, dtype=torch.float64)
    rate, location = (axis.reshape(-1) for axis in torch.meshgrid(_RATES, locations, indexing="ij"))
    return rate, location


def conditioned(known: Files, rate: Tensor, location: Tensor, multiple: float) -> tuple[Process, Tensor]:
    """The processes with one amplitude, and the negative logarithm of each one's posterior probability ``[settings]``.

    The logarithm lacks a constant that is the same for all amplitudes.
    """
    data = known.data
    unit = data.unit
    mean = _prior_mean(rate, location, known.inputs, known.shares, unit)
    residuals = (data.drops.clamp(max=_SATURATION * unit) - mean)[..., None]
    variance = (multiple * (_AMPLITUDE_PER_DEVIATION * data.deviation or _AMPLITUDE_PER_UNIT * unit)) ** 2
    covariance = variance * overlap_of(data.coordinates, data.coordinates, data.shares)
    covariance = covariance + (variance if data.noise is None else data.noise)
    diagonal = torch.diag_embed((_MEAN_ERROR * mean) ** 2 + (_JITTER * unit) ** 2)
    factor = torch.linalg.cholesky(covariance + diagonal)
    whitened = torch.linalg.solve_triangular(factor, residuals, upper=False)[..., 0]
    loss = whitened.square().sum(-1) / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    spread = _PRIOR_RATE_DEVIATION if data.divergences is None else _DIVERGENCE_RATE_DEVIATION
    loss += ((rate / PRIOR_RATE).log() / spread) ** 2 / 2
    if data.usual is not None:
        gap = mean.clamp(min=_JITTER * unit).log() - data.usual
        loss += (gap.nanmean(-1) / _USUAL_DEVIATION) ** 2 / 2
    loss += (math.log(multiple) / _PRIOR_AMPLITUDE_DEVIATION) ** 2 / 2
    return Process(rate, location, variance, factor, residuals, unit), loss


def _prior_mean(rate: Tensor, location: Tensor, inputs: Tensor, shares: Tensor, unit: float) -> Tensor:
    """``[settings, files]``: one unit where all inputs are at the location, more for smaller files."""
    powers = (rate[:, None, None] * (location[:, None, None] - inputs)).clamp(-60, 60).exp()
    mean: Tensor = unit * powers @ shares
    return mean.clamp(max=_SATURATION * unit)
