"""How far the outputs of each matrix are from those of the exact weights, by the inputs seen in an evaluation.

An error Δ of a matrix W moves its outputs by X Δᵀ, X being the inputs, so by tr(Δ XᵀX Δᵀ) in squares; of an embedding,
each lookup of a row is one input. Over the squares of the outputs themselves, and summed over all matrices, this grows
smoothly with the errors of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lightning_compress.search.model_parts import is_small_parameter
from lightning_compress.search.observe import InputStatistics
from lightning_compress.weights import Weights

_COVERED = 0.95  # of the elements of all matrices, without which the error is not that of the model


def output_power(matrix: Tensor, statistics: InputStatistics) -> float:
    """Squares of the outputs of a matrix ``[rows, columns]`` for the inputs that were seen, summed."""
    gram, lookups, total = statistics.gram, statistics.lookups, 0.0
    if gram is not None:
        total += float(((matrix @ gram) * matrix).double().sum())
    if lookups is not None:
        total += float(matrix.double().square().sum(1) @ lookups)
    return total


@dataclass(frozen=True, eq=False)
class _Matrix:
    exact: Tensor
    statistics: InputStatistics


class InputError:
    """The relative squared error of the outputs of all matrices with known inputs.

    Args:
        weights: the exact weights.
        observations: name of a stored matrix → its statistics.
    """

    def __init__(self, weights: Weights, observations: Mapping[str, InputStatistics]) -> None:
        self._known: dict[str, tuple[_Matrix, float]] = {}
        matrices = [w for w in weights if w.tensor.is_floating_point() and not is_small_parameter(w)]
        for weight in matrices:
            statistics = observations.get(weight.name)
            if statistics is None:
                continue
            exact = weight.tensor.float().reshape(statistics.rows, statistics.columns)
            power = output_power(exact, statistics)
            if 0 < power < float("inf"):
                self._known[weight.name] = _Matrix(exact, statistics), power
        covered = sum(matrix.exact.numel() for matrix, _ in self._known.values())
        if covered < _COVERED * sum(weight.tensor.numel() for weight in matrices if weight.reason is None):
            self._known.clear()

    def __call__(self, tensors: Mapping[str, Tensor]) -> float | None:
        """The error of a file; None where too few inputs are known, or the weights are equal."""
        total = 0.0
        for name, (matrix, power) in self._known.items():
            error = tensors[name].float().reshape(matrix.exact.shape) - matrix.exact
            total += output_power(error, matrix.statistics) / power
        return total if 0 < total < float("inf") else None
