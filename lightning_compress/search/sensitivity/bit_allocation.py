"""Bit allocation: the step size of each tensor and row, from its sensitivity.

On a fine grid, halving the step of a weight costs one bit and quarters its distortion. So the total distortion at a
given rate is least if every step is inversely proportional to the square root of its sensitivity: one Lagrangian over
all weights. Rows have steps of their own (:mod:`row_steps`, and with feedback between rows :mod:`row_coupling`), and
the sensitivity of a tensor is the cross-validated distortion with these steps.

Source: Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_compress.quantize import GridGuide, feedback_factor, matrix_shape
from lightning_compress.search.sensitivity.fisher import FisherStatistics
from lightning_compress.search.sensitivity.row_coupling import coupled_rows
from lightning_compress.search.sensitivity.row_steps import auxiliary_matrices, row_steps
from lightning_compress.weights import Weight, Weights

DAMPING = 0.05  # of the mean curvature
_MIN_SENSITIVITY = 1e-4  # of the median: a tensor that the batches hardly use is not discarded


@dataclass(frozen=True, eq=False)
class BitAllocation:
    """Step sizes of one tensor, and its error feedback.

    Attributes:
        step: step size at strength 0, in units of the weights.
        guide: exponents of the rows, and the factors of error feedback.
    """

    step: float
    guide: GridGuide


def allocate_bits(weights: Weights, statistics: Mapping[str, FisherStatistics]) -> dict[str, BitAllocation]:
    """Step sizes and guides of the weights that have Fisher statistics; tensors that are kept exactly have none.

    The steps are scaled so that their geometric mean, relative to the standard deviation of the tensor and over all
    weights, is 1.

    Args:
        weights: the exact weights.
        statistics: name → Fisher statistics; those whose shape does not match are ignored.
    """
    known = {w.name: (w, statistics[w.name]) for w in weights if _fits(w, statistics.get(w.name))}
    auxiliary = auxiliary_matrices({name: fisher.row_squares for name, (_, fisher) in known.items()})
    guided = {name: _guide(weight, fisher, auxiliary.get(name, ())) for name, (weight, fisher) in known.items()}
    sensitivities = {name: sensitivity for name, (_, sensitivity) in guided.items()}
    sizes = {name: weight.tensor.numel() for name, (weight, _) in known.items()}
    smallest = _MIN_SENSITIVITY * _median(sensitivities, sizes)
    steps = {name: max(sensitivity, smallest) ** -0.5 for name, sensitivity in sensitivities.items()}
    spreads = {name: float(weight.tensor.double().std(correction=0)) for name, (weight, _) in known.items()}
    relative = {name: spreads[name] / step for name, step in steps.items() if spreads[name] > 0}
    unit = math.exp(_mean_logarithm(relative, sizes))
    return {name: BitAllocation(step * unit, guided[name][0]) for name, step in steps.items()}


def _fits(weight: Weight, fisher: FisherStatistics | None) -> bool:
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    if fisher is None or weight.reason is not None or not weight.tensor.numel() or len(fisher.row_totals) != rows:
        return False
    return fisher.column_curvature is None or len(fisher.column_curvature) == columns


def _guide(weight: Weight, fisher: FisherStatistics, auxiliary: Sequence[Tensor]) -> tuple[GridGuide, float]:
    """The guide of a tensor, and its mean sensitivity per weight with these row steps and this feedback."""
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    size = weight.tensor.numel()
    if columns == 1 or rows == 1:
        return GridGuide(), float(fisher.row_totals.double().sum()) / size
    factor, share = None, 1.0
    if fisher.column_curvature is not None:
        factor = feedback_factor(fisher.column_curvature, DAMPING)
        share = remaining_share(fisher.column_curvature, factor)
    steps, spread = row_steps(fisher.row_squares, auxiliary), None
    if factor is not None and fisher.row_curvature is not None:
        steps, spread = coupled_rows(fisher.row_curvature, steps)
    return GridGuide(steps.exponents, factor, spread), steps.distortion * share / size


def remaining_share(curvature: Tensor, factor: Tensor | None) -> float:
    """The share of the distortion that remains with error feedback between columns.

    Args:
        curvature: ``[columns, columns]``.
        factor: :func:`feedback_factor` of it with ``DAMPING``; None for no feedback.
    """
    if factor is None:
        return 1.0
    # With feedback, an error in column c costs (1 / U[c, c])² of the unscaled factor U, on average the squared scale,
    # instead of the damped diagonal D[c]. The scale follows from the last column, where D = 1 / U².
    diagonal = curvature.diagonal().double()
    damping = DAMPING * float(diagonal.mean())
    return (float(diagonal[-1]) + damping) * float(factor[-1, -1]) ** 2 / (float(diagonal.mean()) + damping)


def _median(values: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """Weighted median: the value that half of all weights are at or below; 0 without values."""
    half, passed = sum(sizes[name] for name in values) / 2, 0
    for name in sorted(values, key=values.__getitem__):
        passed += sizes[name]
        if passed >= half:
            return values[name]
    return 0.0


def _mean_logarithm(values: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """Mean of the logarithms, weighted by the sizes of the tensors; 0 without values."""
    total = sum(sizes[name] for name in values)
    return sum(sizes[name] * math.log(value) for name, value in values.items()) / total if total else 0.0
