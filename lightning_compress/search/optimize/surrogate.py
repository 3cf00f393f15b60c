"""The surrogate: a Gaussian process that predicts what files really lose, from the drops that were measured.

Input of the process are the coordinates of a file: for each part of the model, the logarithm of the bytes that the
whole model would have at that part's strength. A measured drop has four parts:

- Prior mean. The squared error of a quantizer grows fourfold when its step doubles, and the drop follows the error, so
  the drop is a power of the bytes, ``drop = unit · Σ share · exp(rate · (location - coordinate))``, summed over parts.
  Where the divergence of the trials from the exact weights is known, the drop is a power of that instead.
- Own deviation. What a file really loses differs from the mean, since greedy decoding changes words that were nearly
  tied. Two files share this deviation in proportion to the weights they have in common: the overlap kernel of
  categorical inputs (Ru et al. 2020, "Bayesian optimisation over multiple continuous and categorical inputs"). An
  independent deviation, proportional to the mean, is added, since the true function is no exact power.
- Sampling noise of the items, with the luck of the exact weights on them. Its covariance is known where the score has
  statistics (:mod:`..evaluate.half_samples`). Otherwise it is a share of the deviation and a constant of the kernel.

The true drop of a file, on text like the items, is the sum of the first two. It is what the posterior is about.

Rate, location and the amplitude of the kernel are hyper-parameters. Each has a prior, and predictions are averaged over
a grid of them, weighted by their posterior probability.

Rasmussen and Williams 2006, "Gaussian processes for machine learning": algorithm 2.1 for the posterior, section 2.7 for
the mean, section 5.2 for hyper-parameters. Snoek et al. 2012, "Practical Bayesian optimization of machine learning
algorithms", section 3.1, for the average over them. Fay and Herriot 1979, "Estimates of income for small places", for
a mean, own deviations and sampling noise of known variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.search.optimize.divergence_model import predicted_log_divergence

# Prior median of the rate. Translation models, on uniform grids at an eighth of their size and less, have 2 to 6.
PRIOR_RATE = 4.0
_PRIOR_RATE_DEVIATION = 0.5  # of the logarithm
_DIVERGENCE_RATE_DEVIATION = 0.25  # likewise, where divergences are known
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
        noise: ``[trials, trials]``, covariance of the sampling noise; None where the score has no statistics.
        noise_share: without ``noise``, the fraction of the variance of a deviation that is sampling noise; with 0,
            the measured drops themselves are predicted.
        divergences: ``[trials]``, logarithm of each trial's divergence from the exact weights; None where unknown.
        assured: the posterior probability that a file must have to be feasible.
    """

    coordinates: Tensor
    drops: Tensor
    shares: Tensor
    max_drop: float
    deviation: float = 0.0
    noise: Tensor | None = None
    noise_share: float = 0.0
    divergences: Tensor | None = None
    assured: float = 0.5

    @property
    def unit(self) -> float:
        """The scale of drops: the one that matters to feasibility, above 0."""
        positive = self.drops[(self.drops > 0) & self.drops.isfinite()]
        return max(self.max_drop, self.deviation) or (float(positive.min()) if len(positive) else 1.0)

    @property
    def is_measured(self) -> bool:
        """Whether measured drops are predicted, and not true ones."""
        return self.noise is None and not self.noise_share

    @property
    def quantile(self) -> float:
        """Of the standard normal distribution, at ``assured``."""
        return float(torch.special.ndtri(torch.tensor(self.assured, dtype=torch.float64)))

    def inputs_of_mean(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of the prior mean for files, ``[files, k]``, and shares ``[k]``.

        With divergences k is 1, and the prior median of the rate makes the drop proportional to the divergence.
        """
        if self.divergences is None:
            return coordinates, self.shares
        both = self.coordinates, coordinates
        centre = self.coordinates.mean()
        known, wanted = ((torch.exp(-PRIOR_RATE * (x - centre)) @ self.shares).log() for x in both)
        own, overlap = (_overlap(self.coordinates, x, self.shares) for x in both)
        found = predicted_log_divergence(self.divergences, known, wanted, own, overlap)
        return -found[:, None] / PRIOR_RATE, torch.ones(1, dtype=torch.float64)


@dataclass(frozen=True)
class TrueDrops:
    """Posterior of what the trials really lose, on text like the items; ``[trials]`` each.

    Attributes:
        mean: expected drop.
        deviation: standard deviation.
        probability: that the drop is at most the allowed one.
    """

    mean: Tensor
    deviation: Tensor
    probability: Tensor


def true_drops(data: TrialData) -> TrueDrops:
    """The posterior of the true drops of the trials themselves."""
    first, second, probability = _averaged(data, data.coordinates, _Process.moments)
    return TrueDrops(first, (second - first.square()).clamp(min=0).sqrt(), probability)


def probability_of_feasibility(data: TrialData, coordinates: Tensor) -> Tensor:
    """The posterior probability that other files, once evaluated, are feasible.

    Args:
        data: trials so far.
        coordinates: ``[files, parts]`` float64, as in ``data``.

    Returns:
        ``[files]`` float64, between 0 and 1.
    """
    return _averaged(data, coordinates, _Process.probability_of_feasibility)[0]


def _averaged(data: TrialData, coordinates: Tensor, quantity: Quantity) -> Tensor:
    """``[k, files]``: quantities of files, averaged over the hyper-parameters."""
    files = _Files(data, coordinates, *data.inputs_of_mean(coordinates))
    known = _Files(data, data.coordinates, *data.inputs_of_mean(data.coordinates))
    if data.divergences is not None:  # that of a trial is known and need not be predicted
        measured = -data.divergences[:, None] / PRIOR_RATE
        known = _Files(data, data.coordinates, measured, known.shares)
        files = known if coordinates is data.coordinates else files
    grid = _hyper_parameter_grid(known.inputs, files.inputs)
    processes, losses = zip(*(_conditioned(known, *grid, multiple) for multiple in _AMPLITUDES), strict=True)
    posterior = torch.stack(losses)
    posterior = (posterior.min() - posterior).exp()
    posterior[posterior < _MIN_POSTERIOR] = 0
    found = []
    for start in range(0, len(coordinates), _BATCH):
        batch, total = files.at(slice(start, start + _BATCH)), torch.zeros((), dtype=torch.float64)
        for weights, process in zip(posterior, processes, strict=True):
            probable = weights.nonzero()[:, 0]
            if len(probable):
                total = total + weights[probable] @ quantity(process.at(probable), batch)
        found.append(total)
    average: Tensor = torch.cat(found, -1) / posterior.sum()
    return average


@dataclass(frozen=True)
class _Files:
    """Files to predict: their coordinates for the kernel, and the inputs and shares of the prior mean."""

    data: TrialData
    coordinates: Tensor
    inputs: Tensor
    shares: Tensor

    def at(self, batch: slice) -> _Files:
        """Some of the files."""
        return _Files(self.data, self.coordinates[batch], self.inputs[batch], self.shares)


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

    def moments(self, files: _Files) -> Tensor:
        """``[3, settings, files]``: mean and mean square of true drops, and the probability that they are allowed."""
        mean, variance = self._posterior(files)
        allowed = torch.special.ndtr((files.data.max_drop - mean) / variance.sqrt())
        return torch.stack([mean, mean.square() + variance, allowed])

    def probability_of_feasibility(self, files: _Files) -> Tensor:
        """``[1, settings, files]``: that the posterior will allow a file when it has been evaluated.

        The evaluation leaves a variance that is known beforehand, and moves the mean by the rest of it (Frazier et al.
        2008, "A knowledge-gradient policy for sequential information collection").
        """
        data = files.data
        mean, variance = self._posterior(files)
        noise = _noise_of_evaluation(data, self.variance)
        left = variance * noise / (variance + noise)
        margin = data.max_drop - data.quantile * left.sqrt() - mean
        probability: Tensor = torch.special.ndtr(margin / (variance - left).sqrt())
        return probability[None]

    def _posterior(self, files: _Files) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the drops of files, ``[settings, files]`` each."""
        data = files.data
        prior = _prior_mean(self.rate, self.location, files.inputs, files.shares, self.unit)
        own = (1 - data.noise_share) * self.variance
        overlap = _overlap(data.coordinates, files.coordinates, data.shares)
        covariance = own * overlap + (self.variance if data.is_measured else 0.0)
        columns = torch.cat([covariance.expand(len(prior), -1, -1), self.residuals], -1)
        whitened = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        of_files, of_residuals = whitened[..., :-1], whitened[..., -1:]
        mean = prior + (of_files * of_residuals).sum(1)
        constant = self.variance if data.is_measured else 0.0
        variance = own + constant + (_MEAN_ERROR * prior) ** 2 - of_files.square().sum(1)
        return mean, variance.clamp(min=(_JITTER * self.unit) ** 2)


Quantity = Callable[[_Process, _Files], Tensor]


def _noise_of_evaluation(data: TrialData, variance: float) -> float:
    """Variance of the sampling noise of one more drop, beyond what the trials tell of it; at least a little."""
    least = (_JITTER * data.unit) ** 2 * _JITTER
    if data.noise is None:
        return max(data.noise_share * variance, least)
    own, trials = data.noise.diagonal(), len(data.noise)
    scale = (own[:, None] * own).sqrt()
    shared = float((data.noise.sum() - own.sum()) / (scale.sum() - own.sum()).clamp(min=least)) if trials > 1 else 0.5
    return max(float(own.mean()) * (1 - min(max(shared, 0.0), 1.0)), least)


def _hyper_parameter_grid(known: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Rate and location of the mean, ``[settings]`` each: every pair of values."""
    low, high = (float(bound) for bound in torch.cat([known, inputs]).aminmax())
    locations = torch.linspace(low - _LOCATION_MARGIN, high + _LOCATION_MARGIN, _LOCATIONS, dtype=torch.float64)
    rate, location = (axis.reshape(-1) for axis in torch.meshgrid(_RATES, locations, indexing="ij"))
    return rate, location


def _conditioned(known: _Files, rate: Tensor, location: Tensor, multiple: float) -> tuple[_Process, Tensor]:
    """The processes with one amplitude, and the negative logarithm of each one's posterior probability ``[settings]``.

    The logarithm lacks a constant that is the same for all amplitudes.
    """
    data = known.data
    unit = data.unit
    mean = _prior_mean(rate, location, known.inputs, known.shares, unit)
    residuals = (data.drops.clamp(max=_SATURATION * unit) - mean)[..., None]
    variance = (multiple * (_AMPLITUDE_PER_DEVIATION * data.deviation or _AMPLITUDE_PER_UNIT * unit)) ** 2
    covariance = variance * _overlap(data.coordinates, data.coordinates, data.shares)
    covariance = covariance + (variance if data.noise is None else data.noise)
    diagonal = torch.diag_embed((_MEAN_ERROR * mean) ** 2 + (_JITTER * unit) ** 2)
    factor = torch.linalg.cholesky(covariance + diagonal)
    whitened = torch.linalg.solve_triangular(factor, residuals, upper=False)[..., 0]
    loss = whitened.square().sum(-1) / 2 + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    spread = _PRIOR_RATE_DEVIATION if data.divergences is None else _DIVERGENCE_RATE_DEVIATION
    loss += ((rate / PRIOR_RATE).log() / spread) ** 2 / 2
    loss += (math.log(multiple) / _PRIOR_AMPLITUDE_DEVIATION) ** 2 / 2
    return _Process(rate, location, variance, factor, residuals, unit), loss


def _prior_mean(rate: Tensor, location: Tensor, inputs: Tensor, shares: Tensor, unit: float) -> Tensor:
    """``[settings, files]``: one unit where all inputs are at the location, more for smaller files."""
    powers = (rate[:, None, None] * (location[:, None, None] - inputs)).clamp(-60, 60).exp()
    mean: Tensor = unit * powers @ shares
    return mean.clamp(max=_SATURATION * unit)


def _overlap(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """``[first, second]``: the share of the weights that two files have in common."""
    overlap: Tensor = (first[:, None] == second).double() @ shares
    return overlap
