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
a grid of them, weighted by their posterior probability. That of the location follows from how much the scores of items
change (:meth:`..HalfSamples.usual_drop`): without it, losses of next to nothing would be as probable as losses that
matter, and few items cannot tell the two apart. (Gelman 2006, "Prior distributions for variance parameters in
hierarchical models", on weakly informative priors.)

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

from lightning_compress.runtime.cached import cached_property
from lightning_compress.search.optimize.gaussian_process import (
    AMPLITUDES,
    Files,
    Process,
    WithReading,
    conditioned,
    hyper_parameter_grid,
)
from lightning_compress.search.optimize.trial_data import PRIOR_RATE, TrialData

_MIN_POSTERIOR = 1e-3  # hyper-parameters less probable than this, relative to the most probable, are left out
_LEAST_VARIANCE = 1e-24
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


class Surrogate:
    """The Gaussian processes of all hyper-parameters, conditioned on the trials once.

    Args:
        data: the trials.

    Attributes:
        data: the trials.
    """

    def __init__(self, data: TrialData) -> None:
        self.data = data
        inputs, shares = data.inputs_of_mean(data.coordinates)
        if data.divergences is not None:  # that of a trial is known and need not be predicted
            inputs = -data.divergences[:, None] / PRIOR_RATE
        self._known = Files(data, data.coordinates, inputs, shares)
        grid = hyper_parameter_grid(inputs)
        processes, losses = zip(*(conditioned(self._known, *grid, multiple) for multiple in AMPLITUDES), strict=True)
        posterior = torch.stack(losses)
        posterior = (posterior.min() - posterior).exp()
        posterior[posterior < _MIN_POSTERIOR] = 0
        posterior = posterior / posterior.sum()
        probable = [weights.nonzero()[:, 0] for weights in posterior]
        self._weighted = [
            (weights[at], process.at(at))
            for weights, process, at in zip(posterior, processes, probable, strict=True)
            if len(at)
        ]

    @cached_property
    def true_drops(self) -> TrueDrops:
        """The posterior of the true drops of the trials themselves."""
        first, second, probability = self._averaged(self._known, Process.moments)
        return TrueDrops(first, (second - first.square()).clamp(min=0).sqrt(), probability)

    def probability_of_feasibility(self, coordinates: Tensor) -> Tensor:
        """The posterior probability that other files, once evaluated, are feasible.

        An evaluation leaves a variance that is known beforehand, and moves the mean by the rest of it (Frazier et al.
        2008, "A knowledge-gradient policy for sequential information collection"). So a file is feasible if its reading
        is below a limit. The variance is that of the average over the hyper-parameters: which of them are right, one
        more reading hardly tells.

        Args:
            coordinates: ``[files, parts]`` float64, as in the data.

        Returns:
            ``[files]`` float64, between 0 and 1.
        """
        files = Files(self.data, coordinates, *self.data.inputs_of_mean(coordinates))
        return torch.cat([self._feasible(files.at(batch)) for batch in _batches(len(coordinates))])

    def _feasible(self, files: Files) -> Tensor:
        found = [(weights, process.with_reading(files)) for weights, process in self._weighted]

        def average(values: Callable[[WithReading], Tensor]) -> Tensor:
            return torch.stack([weights @ values(one) for weights, one in found]).sum(0)

        mean, read = average(lambda one: one.mean), average(lambda one: one.read)
        variance = average(lambda one: one.variance + (one.mean - mean).square())
        covariance = average(lambda one: one.covariance + (one.mean - mean) * (one.read - read))
        of_reading = average(lambda one: one.of_reading + (one.read - read).square())
        left = (variance - covariance.square() / of_reading).clamp(min=0).sqrt()
        margin = self.data.max_drop - self.data.quantile * left - mean
        limit = read + margin * of_reading / covariance.clamp(min=_LEAST_VARIANCE)
        limit = limit.clamp(max=self.data.max_drop)  # what is read must be allowed as well
        return average(lambda one: torch.special.ndtr((limit - one.read) / one.of_reading.sqrt()))

    def _averaged(self, files: Files, quantity: Quantity) -> Tensor:
        """``[k, files]``: quantities of files, averaged over the hyper-parameters."""
        found = []
        for batch in _batches(len(files.coordinates)):
            averages = [weights @ quantity(process, files.at(batch)) for weights, process in self._weighted]
            found.append(torch.stack(averages).sum(0))
        return torch.cat(found, -1)


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]
