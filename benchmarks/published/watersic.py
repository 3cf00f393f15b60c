"""WaterSIC: steps for each column, and error feedback (Lifar et al. 2026, arXiv 2603.04956, sections 4 and 5).

With H = L Lᵀ the step of column c is proportional to 1 / L[c, c], so that errors of all columns cost the same. Then a
scale for each column and each row is fitted by least squares in turn. All matrices have the same bits for each weight.
With equal steps this is GPTQ with an entropy coder, which their paper compares with.

Left out: the inputs that the compressed layers give, weights of attention, and training.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.published.code_length import SCALE_BITS, at_bits, matrix_bits
from benchmarks.published.feedback import rounded_columns
from benchmarks.published.linear_maps import LinearMaps, Rounded, damped

DAMPING = 1e-4  # theirs
SCALINGS = 10  # turns of fitting columns and rows
LARGEST_SCALE, SMALLEST_SCALE = 1.5, -0.1  # of a column


def watersic(maps: LinearMaps, strength: float, *, equal_steps: bool = False, damping: float = DAMPING) -> Rounded:
    """All matrices at -strength bits for each weight.

    Args:
        maps: the matrices.
        strength: minus the bits.
        equal_steps: whether all columns of a matrix have one step, without scales: GPTQ with an entropy coder.
        damping: share of the mean second moment that is added to each.
    """
    weights, bits = {}, 0.0
    for name, matrix in maps.weights.items():
        curvature = damped(maps.moments[name], damping)
        lower = torch.linalg.cholesky(curvature)
        relative = torch.ones(len(lower), dtype=torch.float64) if equal_steps else 1 / lower.diagonal()
        first = float(matrix.std() / relative.mean())
        rounded, taken = at_bits(partial(_rounded, matrix, lower, relative), -strength, first)
        scales = 1 if equal_steps else sum(matrix.shape)
        weights[name] = rounded if equal_steps else _scaled(rounded, matrix, curvature)
        bits += taken + SCALE_BITS * scales
    return Rounded(weights, bits)


def _rounded(matrix: Tensor, lower: Tensor, relative: Tensor, step: float) -> tuple[Tensor, float]:
    """The rounded matrix and its bits, where the columns have these steps, relative to the given one."""
    steps = step * relative
    rounded = rounded_columns(matrix, lower, partial(_nearest, steps))
    return rounded, matrix_bits((rounded / steps).round().long().numpy())


def _nearest(steps: Tensor, column: int, values: Tensor) -> Tensor:
    return (values / steps[column]).round() * steps[column]


def _scaled(rounded: Tensor, matrix: Tensor, curvature: Tensor) -> Tensor:
    """The rounded matrix times a scale for each row and each column, which lose least."""
    rows = torch.ones(len(matrix), 1, dtype=torch.float64)
    product = matrix @ curvature
    for _ in range(SCALINGS):
        tall = rounded * rows
        normal = curvature * (tall.T @ tall)
        normal = damped(normal, 1e-8)
        columns = torch.linalg.solve(normal, (tall * product).sum(0)).clamp(SMALLEST_SCALE, LARGEST_SCALE)
        wide = rounded * columns
        power = (wide @ curvature * wide).sum(1, keepdim=True)
        rows = torch.where(power > 0, (product * wide).sum(1, keepdim=True) / power.clamp(min=1e-300), 1.0)
    return rounded * columns * rows
