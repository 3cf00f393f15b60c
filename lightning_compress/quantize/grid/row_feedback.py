"""Error feedback between rows: what rounding one row does to the loss is made up for in the rows that follow.

The rows of a matrix meet the loss together: the errors D of all rows are felt as tr(G D H Dᵀ), where H is the curvature
of the columns and G ``[rows, rows]`` tells how the outputs of rows act together. So an error made in one row is
cheapest when later rows move with it, column by column. With G = U Uᵀ, U upper triangular, and N = diag(U) U⁻¹, the
error of row r times N[r, r+1:] is taken off the rows after r, before they are rounded; what the error then still costs
is U[r, r]², which is G[r, r] given that the later rows move.

Sources: Tseng et al. 2025, "Model-preserving adaptive rounding" (feedback on both sides of a matrix); Martens and
Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate curvature" (rows and columns apart).
"""

from __future__ import annotations

import torch
from torch import Tensor


def row_spread(curvature: Tensor) -> tuple[Tensor, Tensor] | None:
    """How rows move with the errors of earlier rows, and what the errors then cost.

    Args:
        curvature: G ``[rows, rows]``, symmetric.

    Returns:
        ``[rows, rows]`` float32, N without its diagonal of ones, and ``[rows]`` float64, U[r, r]². None where G is not
        positive definite, as far as float64 can tell.
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
