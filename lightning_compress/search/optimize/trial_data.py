"""The data that the surrogate is conditioned on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_compress.search.evaluate.half_samples import noise_covariance
from lightning_compress.search.trials.trial import Trial

# Prior median of the rate. Translation models, on uniform grids at an eighth of their size and less, have 2 to 6.
PRIOR_RATE = 4.0
# Of the variance of a deviation, where the score has no statistics: it cannot be told how much of it is sampling noise.
_NOISE_SHARE = 0.5
_EXPONENT_DEVIATION = 0.2  # of the prior of the exponent, around that of squared errors
_DIVERGENCE_NOISE = 0.05  # of the logarithm of a divergence
_DIVERGENCE_DEVIATION = 0.2  # of the logarithm of a divergence from the power law, shared through equal parts


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
        usual: ``[trials]``, logarithm of what a file loses as a rule that changes the scores of items as much as the
            trial; NaN where it is unknown. None where it is unknown of all.
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
    usual: Tensor | None = None
    divergences: Tensor | None = None
    assured: float = 0.5

    @classmethod
    def of(
        cls, trials: Sequence[Trial], coordinates: Tensor, shares: Tensor, max_drop: float, assured: float
    ) -> TrialData:
        """The data of trials.

        Args:
            trials: of families that share trials.
            coordinates: ``[trials, parts]``, of each.
            shares: ``[parts]``.
            max_drop: the largest allowed drop.
            assured: the probability that it is kept with.
        """
        noise = noise_covariance([trial.half_differences for trial in trials])
        divergences = [trial.divergence for trial in trials]
        known = all(value is not None and value > 0 for value in divergences)
        return cls(
            coordinates,
            torch.tensor([trial.drop.value for trial in trials], dtype=torch.float64),
            shares,
            max_drop,
            max(trial.drop.deviation for trial in trials),
            None if noise is None else torch.from_numpy(noise),
            0.0 if noise is not None else _NOISE_SHARE,
            _logarithms([trial.usual_drop for trial in trials]),
            torch.from_numpy(np.log(np.array(divergences, np.float64))) if known else None,
            assured,
        )

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
        own, overlap = (overlap_of(self.coordinates, x, self.shares) for x in both)
        found = _predicted_log_divergence(self.divergences, known, wanted, own, overlap)
        return -found[:, None] / PRIOR_RATE, torch.ones(1, dtype=torch.float64)


def _logarithms(values: Sequence[float | None]) -> Tensor | None:
    """``[values]``, NaN for those that are unknown or not above 0; None where all are."""
    found = torch.tensor([math.log(value) if value else math.nan for value in values], dtype=torch.float64)
    return None if bool(found.isnan().all()) else found


def overlap_of(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """``[first, second]``: the share of the weights that two files have in common."""
    shared: Tensor = (first[:, None] == second).double() @ shares
    return shared


def _predicted_log_divergence(known: Tensor, powers: Tensor, of_files: Tensor, own: Tensor, overlap: Tensor) -> Tensor:
    """``[files]``: logarithm of the divergence of files that were not made, predicted from that of the trials.

    The divergence of a file from the exact weights is nearly free of noise, and follows the squared error of its parts:
    it is a power of their bytes, summed over parts. Files that share parts with a trial share its deviation from this
    law.

    The linear model has a flat prior for its constant and a normal one for its exponent (Rasmussen and Williams 2006,
    "Gaussian processes for machine learning", section 2.7).

    Args:
        known: ``[trials]``, logarithms of the divergences of the trials.
        powers: ``[trials]``, logarithm of the power law of each trial, up to a constant.
        of_files: ``[files]``, likewise.
        own: ``[trials, trials]``, the share of the weights that two trials have in common.
        overlap: ``[trials, files]``, likewise.
    """
    centre, middle = powers.mean(), known.mean()
    x, y = powers - centre, known - middle
    precision = _DIVERGENCE_NOISE**2 + _DIVERGENCE_DEVIATION**2
    exponent = (precision / _EXPONENT_DEVIATION**2 + x @ y) / (precision / _EXPONENT_DEVIATION**2 + x @ x)
    covariance = _DIVERGENCE_DEVIATION**2 * own + _DIVERGENCE_NOISE**2 * torch.eye(len(known), dtype=torch.float64)
    weights = torch.linalg.solve(covariance, y - exponent * x)
    predicted: Tensor = middle + exponent * (of_files - centre) + _DIVERGENCE_DEVIATION**2 * overlap.T @ weights
    return predicted
