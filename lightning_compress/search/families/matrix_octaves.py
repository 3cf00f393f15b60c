"""Steps of whole matrices by the relative error of their outputs, from the inputs that an evaluation shows.

If every matrix might change its outputs by the same relative squared error, then by Lagrange the step of a matrix would
be inversely proportional to the root of the relative error that a step of one causes for each weight (Shoham and Gersho
1988). How much an error of some layer harms is not known without gradients, so small differences are not followed: a
matrix has the common step unless its own would be more than twice or less than half as large (soft thresholding, Donoho
and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from lightning_compress.search.families.input_error import output_power
from lightning_compress.search.observe import InputStatistics
from lightning_compress.search.sensitivity.bit_allocation import remaining_share
from lightning_compress.weights import Weights

_NOT_FOLLOWED = 1.0  # octaves
_MAX_OCTAVES = 4.0


def matrix_octaves(
    weights: Weights, observations: Mapping[str, InputStatistics], factors: Mapping[str, Tensor | None]
) -> dict[str, float]:
    """Binary logarithm of the step of each matrix with known inputs, relative to the common step.

    Args:
        weights: the exact weights.
        observations: name of a stored matrix → its statistics.
        factors: name → the error feedback of its inputs, None for none.
    """
    sizes = {weight.name: weight.tensor.numel() for weight in weights}
    found = {
        weight.name: _error_of_step(weight.tensor, observations[weight.name], factors[weight.name])
        for weight in weights
        if weight.name in observations
    }
    logarithms = {name: -0.5 * math.log2(error) for name, error in found.items() if 0 < error < math.inf}
    total = sum(sizes[name] for name in logarithms)
    mean = sum(sizes[name] * value for name, value in logarithms.items()) / max(total, 1)
    return {name: _followed(value - mean) for name, value in logarithms.items()}


def _error_of_step(tensor: Tensor, statistics: InputStatistics, factor: Tensor | None) -> float:
    """Relative squared error of the outputs, for each weight, that a step of one causes; up to a common factor."""
    rows = tensor.detach().cpu().float().reshape(statistics.rows, statistics.columns)
    power, curvature = output_power(rows, statistics), 0.0
    if statistics.gram is not None:
        share = remaining_share(statistics.gram, factor)
        curvature += share * float(statistics.gram.diagonal().double().mean()) * statistics.rows * statistics.columns
    if statistics.lookups is not None:
        curvature += float(statistics.lookups.sum()) * statistics.columns
    return curvature / power / tensor.numel() if power > 0 else 0.0


def _followed(octaves: float) -> float:
    beyond = min(max(abs(octaves) - _NOT_FOLLOWED, 0.0), _MAX_OCTAVES)
    return math.copysign(beyond, octaves)
