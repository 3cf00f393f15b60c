"""The input-guided family: uniform grids, with error feedback and other steps from statistics of an evaluation.

The second moments of a matrix's inputs give the error feedback, the usage of its rows gives their steps, and the
relative error of its outputs gives the step of the whole matrix, where that is far from the step of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.families.matrix_octaves import matrix_octaves
from lightning_compress.search.observe import ActivationObserver, InputStatistics
from lightning_compress.search.sensitivity.bit_allocation import DAMPING
from lightning_compress.search.sensitivity.row_steps import rounded_exponents
from lightning_compress.weights import Weights
from lightning_compress.weights.bindings import bindings_of

_PER_OCTAVE = 32  # units of an exponent
_SHRINKAGE = 0.5  # towards equal steps: the usage of a row is only one factor of its sensitivity
_MAX_OCTAVES = 2.0  # between the step of a row and that of its tensor; rows that are never used get at most twice it


class Observer:
    """Collects statistics of how a module uses its weights.

    Args:
        weights: the stored tensors.
        module: which has them as parameters.

    Attributes:
        observations: name of a stored matrix → its statistics.
    """

    def __init__(self, weights: Weights, module: nn.Module) -> None:
        self.weights = weights
        self.module = module
        self.observations: dict[str, InputStatistics] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the module is evaluated with the weights loaded; where that fails, nothing is kept."""
        try:
            with ActivationObserver(bindings_of(self.weights, self.module), self.observations):
                yield
            for observation in self.observations.values():
                observation.finish()
        except BaseException:
            self.observations.clear()
            raise


def input_guided_families(weights: Weights, observations: Mapping[str, InputStatistics]) -> Sequence[PlanFamily]:
    """Uniform grids with guidance, then without; only the latter where there are no statistics."""
    guides = grid_guides(weights, observations)
    (unguided,) = uniform_families(weights)
    return (replace(unguided, guidance=guides), unguided) if guides else (unguided,)


def grid_guides(weights: Weights, observations: Mapping[str, InputStatistics]) -> dict[str, GridGuide]:
    """Row exponents and error feedback of each matrix, from its statistics."""
    factors = {name: None if o.gram is None else feedback_factor(o.gram, DAMPING) for name, o in observations.items()}
    guides, octaves = {}, matrix_octaves(weights, observations, factors)
    for name, observation in observations.items():
        usage, exponent = _row_usage(observation), round(_PER_OCTAVE * octaves.get(name, 0.0))
        exponents = None if usage is None else _row_exponents(usage)
        if exponent:
            of_rows = torch.zeros(observation.rows, dtype=torch.int32) if exponents is None else exponents
            exponents = of_rows + exponent
        if exponents is not None or factors[name] is not None:
            guides[name] = GridGuide(exponents, factors[name])
    return guides


def _row_usage(observation: InputStatistics) -> Tensor | None:
    """``[rows]``: lookups and softmax curvature of each row, each over its mean; None where there is neither."""
    counts = (observation.lookups, observation.softmax_curvature)
    relative = [count / count.mean() for count in counts if count is not None and bool(count.any())]
    return sum(relative[1:], start=relative[0]) if relative else None


def _row_exponents(usage: Tensor) -> Tensor:
    """``[rows]`` int32, in 1/32 octave: rows that are used more often get finer steps."""
    relative = usage.double() / usage.double().mean()
    octaves = -0.5 * _SHRINKAGE * torch.log2(relative + 4.0**-_MAX_OCTAVES)
    return rounded_exponents(octaves, _MAX_OCTAVES)
