"""Steps by sensitivity: where an error hurts more, the grid is finer.

With fine grids a weight takes one bit more when its step is halved, and the harm of its error shrinks to a quarter. So
bytes are spent best where every step is inversely proportional to the square root of its sensitivity: one Lagrangian
over all weights (Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers"). Sensitivities
are estimates, and grids are not that fine; so between tensors, and between rows still more, steps follow them part of
the way. Rows of embeddings and of the vocabulary projection so get bits by how frequent their words are (Chung et al.
2020, "Extremely low bit Transformer quantization for on-device neural machine translation").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.quantize import GridGuide, feedback_factor, matrix_shape
from lightning_compress.search.sensitivity import Sensitivity
from lightning_compress.weights import Weight, Weights

DAMPING = 0.05  # of the mean curvature
_BETWEEN_TENSORS = 0.8  # of the way from equal steps to steps by the full formula
_BETWEEN_ROWS = 0.5
_ROW_RANGE = 2.0  # octaves around the tensor's step that those of rows keep to
_ROW_STEP = 8  # of 1/32 octave: exponents are multiples of it, and so cost few bits
_LEAST = 1e-4  # of the typical sensitivity: what hardly shows in the batches is not thrown away


@dataclass(frozen=True, eq=False)
class Allocation:
    """What calibration makes of one tensor.

    Attributes:
        step: its step, relative to those of the others; in the unit of the weights, at strength 0.
        guide: exponents of its rows and the factor for error feedback.
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
    guides = {name: _guide(weight, sensitivity) for name, (weight, sensitivity) in known.items()}
    harms = {name: _harm(known[name][1], guide, known[name][0].tensor.numel()) for name, guide in guides.items()}
    sizes = {name: weight.tensor.numel() for name, (weight, _) in known.items()}
    typical = _median(harms, sizes)
    floored = {name: max(harm, _LEAST * typical) for name, harm in harms.items()}
    steps = {name: harm ** (-0.5 * _BETWEEN_TENSORS) for name, harm in floored.items()}
    spreads = {name: float(weight.tensor.double().std(correction=0)) for name, (weight, _) in known.items()}
    relative = {name: spreads[name] / step for name, step in steps.items() if spreads[name] > 0}
    unit = math.exp(_mean_logarithm(relative, sizes))
    return {name: Allocation(step * unit, guides[name]) for name, step in steps.items()}


def _fits(weight: Weight, sensitivity: Sensitivity | None) -> bool:
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    if sensitivity is None or not weight.tensor.numel() or len(sensitivity.rows) != rows:
        return False
    return sensitivity.curvature is None or len(sensitivity.curvature) == columns


def _guide(weight: Weight, sensitivity: Sensitivity) -> GridGuide:
    rows, columns = matrix_shape(tuple(weight.tensor.shape))
    if columns == 1 or not bool(sensitivity.rows.any()):
        return GridGuide()
    factor = None if sensitivity.curvature is None else feedback_factor(sensitivity.curvature, DAMPING)
    return GridGuide(row_exponents(sensitivity.rows) if rows > 1 else None, factor)


def row_exponents(squares: Tensor) -> Tensor:
    """``[rows]`` int32 exponents, in 1/32 octave, by the sensitivity of each row."""
    relative = squares.double() / squares.double().mean()
    octaves = -0.5 * _BETWEEN_ROWS * torch.log2(relative + 4.0**-_ROW_RANGE)
    return torch.round(octaves.clamp(-_ROW_RANGE, _ROW_RANGE) * 32 / _ROW_STEP).int() * _ROW_STEP


def _harm(sensitivity: Sensitivity, guide: GridGuide, weights: int) -> float:
    """What an error of one squared step in every weight does to the loss, for each weight."""
    steps = torch.ones(1) if guide.exponents is None else torch.exp2(guide.exponents.double() / 32)
    harm = float((sensitivity.rows.double() * steps.square()).sum()) / weights
    if guide.factor is None or sensitivity.curvature is None:
        return harm
    # With error feedback a column's error costs (1 / U[c, c])² of the unscaled factor, on average the scale squared,
    # instead of its place on the damped diagonal D. The last column tells the scale: D = 1 / U².
    diagonal = sensitivity.curvature.diagonal().double()
    damping = DAMPING * float(diagonal.mean())
    left = (float(diagonal[-1]) + damping) * float(guide.factor[-1, -1]) ** 2
    return harm * left / (float(diagonal.mean()) + damping)


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
