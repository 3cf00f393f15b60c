"""Error feedback between rows: the rounding error of a row is compensated in the rows after it.

The loss depends on the errors D of all rows together as tr(G D H Dᵀ), where H is the curvature of the columns and G
``[rows, rows]`` that of the rows. An error in one row costs least when later rows move with it, column by column. With
G = U Uᵀ, U upper triangular, and N = diag(U) U⁻¹, the error of row r times N[r, r+1:] is subtracted from the rows after
r before they are rounded. The error then costs U[r, r]²: G[r, r], given that the later rows move.

Sources: Tseng et al. 2025, "Model-preserving adaptive rounding" (feedback on both sides of a matrix); Martens and
Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate curvature" (rows and columns apart).
"""

from __future__ import annotations

import torch
from torch import Tensor


def row_spread(curvature: Tensor) -> tuple[Tensor, Tensor] | None:
    """The factors by which errors of a row move later rows, and the cost of the errors that remain.

    Args:
        curvature: G ``[rows, rows]``, symmetric.

    Returns:
        ``[rows, rows]`` float32, N without its diagonal of ones, and ``[rows]`` float64, U[r, r]². None where G is not
        positive definite in float64.
    """
    lower, failed = torch.linalg.cholesky_ex(curvature.double().flip(0, 1))
    if int(failed) or not bool(lower.isfinite().all()):
        return None
    upper = lower.flip(0, 1)
    diagonal = upper.diagonal()
    inverse = torch.linalg.solve_triangular(upper, torch.diag(diagonal), upper=True, left=False)
    return inverse.triu(1).float(), diagonal.square()


def spread_in_steps(spread: Tensor, scales: Tensor) -> Tensor:
    """The spread ``[rows, rows]`` for weights in units of their row's step, whose sizes are ``scales`` ``[rows]``."""
    steps = scales.double()
    return (spread * (steps[:, None] / steps)).float()
