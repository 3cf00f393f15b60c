"""Error feedback: what rounding one column does to the loss is made up for in the columns that follow.

A weight matrix meets the loss through an average square, the curvature H ``[columns, columns]``: moving a row by δ
costs δ H δᵀ. So an error made in one column is cheapest when later columns move with it. With U the upper Cholesky
factor of H⁻¹, the error e of column c, over U[c, c], times U[c, c+1:] is taken off the columns after c, before they are
rounded; what the error then still costs is (e / U[c, c])².

Along a trellis every state's best path has made errors of its own. Each path carries them along for a block of columns;
at its end the best path of each row is kept, and the rest of the matrix moves with its errors.

Sources: Hassibi and Stork 1993, "Second order derivatives for network pruning: optimal brain surgeon"; Frantar et al.
2023, "GPTQ"; Raheli et al. 1995, "Per-survivor processing" (paths with memories of their own).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_compress.quantize.feedback_paths import best_block
from lightning_compress.quantize.rates import Rates, nearest_whole
from lightning_compress.quantize.trellis import Floats, Trellis
from lightning_compress.quantize.trellis_search import start_costs

_COLUMNS = 32  # a block
_ROWS = 512  # at a time: the errors of all paths stay in the cache
_MOST = np.float32(32760)


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


def feedback_points(weights: Tensor, factor: Tensor, trellis: Trellis | None, rates: Rates | None = None) -> Tensor:
    """Points of the grid for a matrix, errors fed back from column to column.

    Args:
        weights: ``[rows, columns]`` in units of the (row's) step.
        factor: see :func:`feedback_factor`.
        trellis: the machine; None for the plain grid.
        rates: bits of the indices, to minimize cost + weight · bits; None for the cost alone.

    Returns:
        ``[rows, columns]`` int16. Where feedback would carry a weight beyond what int16 holds, it is held there.
    """
    result = torch.empty(weights.shape, dtype=torch.int16)
    upper = np.ascontiguousarray(factor.numpy(), np.float32)
    for start in range(0, len(weights), _ROWS):
        part = slice(start, start + _ROWS)
        columns = np.ascontiguousarray(weights[part].float().numpy().T)
        known = None if rates is None else rates.of_rows(part)
        points = _plain(columns, upper, known) if trellis is None else _along(columns, upper, trellis, known)
        result[part] = torch.from_numpy(points.T.astype(np.int16))
    return result


def _plain(weights: Floats, upper: Floats, rates: Rates | None) -> Floats:
    """:func:`feedback_points` on the plain grid; all arrays ``[columns, rows]``, ``weights`` is used up."""
    points = np.empty_like(weights)
    for start in range(0, len(weights), _COLUMNS):
        stop = min(start + _COLUMNS, len(weights))
        errors = np.empty((stop - start, weights.shape[1]), np.float32)
        for place, column in enumerate(range(start, stop)):
            value = weights[column] - upper[start:column, column] @ errors[:place]
            scale, here = upper[column, column], None if rates is None else rates.of_columns(slice(column, column + 1))
            points[column] = np.copysign(nearest_whole(np.minimum(np.abs(value), _MOST)[None], here, scale)[0], value)
            errors[place] = (value - points[column]) / scale
        weights[stop:] -= upper[start:stop, stop:].T @ errors
    return points


def _along(weights: Floats, upper: Floats, trellis: Trellis, rates: Rates | None) -> Floats:
    """:func:`feedback_points` along a trellis; all arrays ``[columns, rows]``, ``weights`` is used up."""
    points = np.empty_like(weights)
    costs = start_costs(trellis, weights.shape[1])
    for start in range(0, len(weights), _COLUMNS):
        stop = min(start + _COLUMNS, len(weights))
        block = slice(start, stop)
        known = None if rates is None else rates.of_columns(block)
        points[block], errors, costs = best_block(weights[block], upper[block, block], trellis, known, costs)
        weights[stop:] -= upper[start:stop, stop:].T @ errors
    return points
