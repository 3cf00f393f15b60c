"""Error feedback: the rounding error of a column is compensated in the columns after it.

The loss depends on a weight matrix through its curvature H ``[columns, columns]``: moving a row by δ costs δ H δᵀ. An
error in one column costs least when later columns move with it. With U the upper Cholesky factor of H⁻¹ and e the error
of column c, e / U[c, c] · U[c, c+1:] is subtracted from the columns after c before they are rounded. The error then
costs (e / U[c, c])². Errors may be fed back between rows as well (:mod:`row_feedback`).

Along a trellis the best path to each state has errors of its own. Each path carries its errors for a block of columns;
at the end of the block the best path of each row is kept, and its errors move the rest of the matrix.

Sources: Hassibi and Stork 1993, "Second order derivatives for network pruning: optimal brain surgeon"; Frantar et al.
2023, "GPTQ"; Raheli et al. 1995, "Per-survivor processing: a general approach to MLSE in uncertain environments".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_compress.quantize.grid.trellis.rates import Rates
from lightning_compress.quantize.grid.trellis.trellis import Trellis

_ROWS = 64  # in a block; within a block errors are fed back row by row


def feedback_factor(curvature: Tensor, damping: float) -> Tensor | None:
    """U, upper triangular ``[columns, columns]`` float32, with UᵀU = (H + damping · mean(diag H) · 1)⁻¹, scaled.

    The scale makes the mean of 1 / U[c, c]² one, so that costs stay in squared steps.

    Args:
        curvature: H ``[columns, columns]``, symmetric, not negative.
        damping: share of the mean diagonal added to the diagonal, above 0.

    Returns:
        None where H is 0, not finite, or cannot be inverted.
    """
    matrix = curvature.double()
    mean = float(matrix.diagonal().mean())
    if not 0 < mean < float("inf"):
        return None
    matrix = matrix + damping * mean * torch.eye(len(matrix), dtype=torch.float64)
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        return None
    upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if int(failed) or not bool(torch.isfinite(upper).all()):
        return None
    factor: Tensor = (upper * upper.diagonal().pow(-2).mean().sqrt()).float()
    return factor


def feedback_points(
    weights: Tensor,
    factor: Tensor,
    trellis: Trellis | None,
    rates: Rates | None = None,
    spread: Tensor | None = None,
) -> Tensor:
    """Points of the grid for a matrix, errors fed back from column to column, and from row to row.

    Args:
        weights: ``[rows, columns]`` in units of the (row's) step.
        factor: see :func:`feedback_factor`.
        trellis: the trellis; None for the plain grid.
        rates: bits of the indices, to minimize cost + weight · bits; None for the cost alone.
        spread: ``[rows, rows]``, see :func:`spread_in_steps`; None for no feedback between rows.

    Returns:
        ``[rows, columns]`` int16. Weights that feedback moves beyond the range of int16 are clamped to it.
    """
    # Imported here, since reading files needs no compiler.
    from lightning_compress.quantize.grid.trellis.feedback_lanes import viterbi_of_rows_with_feedback
    from lightning_compress.quantize.grid.trellis.feedback_loops import round_with_feedback, viterbi_with_feedback
    from lightning_compress.quantize.grid.trellis.plain_loops import round_rows_with_feedback
    from lightning_compress.quantize.grid.trellis.point_loops import trellis_tables

    rest = weights.float().numpy(force=True).copy(order="C")
    upper = np.ascontiguousarray(factor.numpy(), np.float32)
    points = np.empty_like(rest)
    costs, symbols, sums = (rates or Rates.none()).for_loops(*rest.shape)
    tables = None if trellis is None else trellis_tables(trellis, symbols)
    if spread is None:
        if tables is None:
            round_rows_with_feedback(rest, upper, costs, symbols, sums, points)
        else:
            viterbi_of_rows_with_feedback(rest, upper, costs, symbols, sums, points, tables)
        return torch.from_numpy(points.astype(np.int16))
    for start in range(0, len(rest), _ROWS):
        part, later = slice(start, start + _ROWS), slice(start + _ROWS, None)
        near = np.ascontiguousarray(spread[part, part].numpy())
        shared = rest[part], upper, near, costs, symbols, sums[part], points[part]
        if tables is None:
            round_with_feedback(*shared)
        else:
            viterbi_with_feedback(*shared, tables)
        rest[later] -= spread[part, later].numpy().T @ rest[part]
    return torch.from_numpy(points.astype(np.int16))
