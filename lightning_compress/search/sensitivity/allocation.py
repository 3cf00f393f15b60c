"""Steps by sensitivity: where an error hurts more, the grid is finer.

With fine grids a weight takes one bit more when its step is halved, and the harm of its error shrinks to a quarter. So
bytes are spent best where every step is inversely proportional to the square root of its sensitivity: one Lagrangian
over all weights (Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers"). Rows have
steps of their own (:mod:`row_steps`, and where they make up for each other's errors
:mod:`row_coupling`), and a tensor counts by the harm that these do to data which
did not choose them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_compress.quantize import GridGuide, feedback_factor, matrix_shape
from lightning_compress.search.sensitivity.fisher import Sensitivity
from lightning_compress.search.sensitivity.row_coupling import coupled_rows
from lightning_compress.search.sensitivity.row_steps import row_steps, tellers
from lightning_compress.weights import Weight, Weights

DAMPING = 0.05  # of the mean curvature
_LEAST = 1e-4  # of the typical sensitivity: what hardly shows in the batches is not thrown away


@dataclass(frozen=True, eq=False)
class Allocation:
    """What calibration makes of one tensor.

    Attributes:
        step: its step, relative to those of the others; in the unit of the weights, at strength 0.
        guide: exponents of its rows, and what error feedback needs.
    """

    step: float
    guide: GridGuide


def allocate(weights: Weights, sensitivities: Mapping[str, Sensitivity]) -> dict[str, Allocation]:
    """Steps and guides of the tensors that have a sensitivity.

    The steps are scaled so that on average (of the logarithm, over all weights) they are as large as the standard
    deviation of their tensor.

    Args:
        weights: the exact weights.
        sensitivities: name → sensitivity, of matching shapes; others are ignored.
    """
    known = {w.name: (w, sensitivities[w.name]) for w in weights if _fits(w, sensitivities.get(w.name))}
    others = tellers({name: sensitivity.halves for name, (_, sensitivity) in known.items()})
    found = {name: _guide(*pair, others.get(name, ())) for name, pair in known.items()}
    harms = {name: harm for name, (_, harm) in found.items()}
    sizes = {name: weight.tensor.numel() for name, (weight, _) in known.items()}
    typical = _median(harms, sizes)
    floored = {name: max(harm, _LEAST * typical) for name, harm in harms.items()}
    steps = {name: harm**-0.5 for name, harm in floored.items()}
    spreads = {name: float(weight.tensor.double().std(correction=0)) for name, (weight, _) in known.items()}
    relative = {name: spreads[name] / step for name, step in steps.items() if spreads[name] > 0}
    unit = math.exp(_mean_logarithm(relative, sizes))
    return {name: Allocation(step * unit, found[name][0]) for name, step in steps.items()}


def _fits(weight: Weight, sensitivity: Sensitivity | None) -> bool:
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    if sensitivity is None or not weight.tensor.numel() or len(sensitivity.rows) != rows:
        return False
    return sensitivity.curvature is None or len(sensitivity.curvature) == columns


def _guide(weight: Weight, sensitivity: Sensitivity, others: Sequence[Tensor]) -> tuple[GridGuide, float]:
    """The guide of a tensor, and for each weight what errors of one squared step do to the loss."""
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    size = weight.tensor.numel()
    if columns == 1 or rows == 1:
        return GridGuide(), float(sensitivity.rows.double().sum()) / size
    factor = None if sensitivity.curvature is None else feedback_factor(sensitivity.curvature, DAMPING)
    steps, spread = row_steps(sensitivity.halves, others), None
    if factor is not None and sensitivity.products is not None:
        steps, spread = coupled_rows(sensitivity.products, steps)
    return GridGuide(steps.exponents, factor, spread), steps.harm * _left(sensitivity, factor) / size


def _left(sensitivity: Sensitivity, factor: Tensor | None) -> float:
    """The part of the harm that error feedback leaves."""
    if factor is None or sensitivity.curvature is None:
        return 1.0
    # A column's error costs (1 / U[c, c])² of the unscaled factor, on average the scale squared, instead of its place
    # on the damped diagonal D. The last column tells the scale: D = 1 / U².
    diagonal = sensitivity.curvature.diagonal().double()
    damping = DAMPING * float(diagonal.mean())
    return (float(diagonal[-1]) + damping) * float(factor[-1, -1]) ** 2 / (float(diagonal.mean()) + damping)


def _median(values: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """The value that half of all weights are at or below; 0 where there are none."""
    half, passed = sum(sizes[name] for name in values) / 2, 0
    for name in sorted(values, key=values.__getitem__):
        passed += sizes[name]
        if passed >= half:
            return values[name]
    return 0.0


def _mean_logarithm(values: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """Mean of the logarithms, each as often as its tensor has weights; 0 where there are none."""
    total = sum(sizes[name] for name in values)
    return sum(sizes[name] * math.log(value) for name, value in values.items()) / total if total else 0.0
