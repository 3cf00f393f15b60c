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

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.search.optimize.gaussian_process import (
    AMPLITUDES,
    Files,
    Process,
    conditioned,
    hyper_parameter_grid,
)
from lightning_compress.search.optimize.trial_data import PRIOR_RATE, TrialData

_MIN_POSTERIOR = 1e-3  # hyper-parameters less probable than this, relative to the most probable, are left out
_BATCH = 256  # files that are predicted together
Quantity = Callable[[Process, Files], Tensor]


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
    first, second, probability = _averaged(data, data.coordinates, Process.moments)
    return TrueDrops(first, (second - first.square()).clamp(min=0).sqrt(), probability)


def probability_of_feasibility(data: TrialData, coordinates: Tensor) -> Tensor:
    """The posterior probability that other files, once evaluated, are feasible.

    Args:
        data: trials so far.
        coordinates: ``[files, parts]`` float64, as in ``data``.

    Returns:
        ``[files]`` float64, between 0 and 1.
    """
    return _averaged(data, coordinates, Process.probability_of_feasibility)[0]


def _averaged(data: TrialData, coordinates: Tensor, quantity: Quantity) -> Tensor:
    """``[k, files]``: quantities of files, averaged over the hyper-parameters."""
    files = Files(data, coordinates, *data.inputs_of_mean(coordinates))
    known = Files(data, data.coordinates, *data.inputs_of_mean(data.coordinates))
    if data.divergences is not None:  # that of a trial is known and need not be predicted
        measured = -data.divergences[:, None] / PRIOR_RATE
        known = Files(data, data.coordinates, measured, known.shares)
        files = known if coordinates is data.coordinates else files
    grid = hyper_parameter_grid(known.inputs, files.inputs)
    processes, losses = zip(*(conditioned(known, *grid, multiple) for multiple in AMPLITUDES), strict=True)
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
