"""Columns rounded one after another, each error compensated by the columns after it.

Frantar et al. 2023, "GPTQ". An error E of the weights costs tr(E H Eᵀ). With H = L Lᵀ, L lower triangular, this is the
sum of squares of E L. Columns are rounded from the last to the first: column c is first moved by the errors of the
columns after it, so that only its own error remains in column c of E L, times L[c, c].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 32  # columns whose errors are fed back to all earlier ones together

Choose = Callable[[int, Tensor], Tensor]  # number and values of a column → its rounded values


def rounded_columns(weights: Tensor, lower: Tensor, choose: Choose) -> Tensor:
    """The rounded weights ``[rows, columns]``.

    Args:
        weights: ``[rows, columns]`` float64.
        lower: L ``[columns, columns]``.
        choose: rounds one column.
    """
    moves = lower / lower.diagonal()
    moved, rounded, errors = weights.clone(), torch.empty_like(weights), torch.empty_like(weights)
    for end in range(weights.shape[1], 0, -BLOCK):
        start = max(end - BLOCK, 0)
        for column in range(end - 1, start - 1, -1):
            rounded[:, column] = choose(column, moved[:, column])
            errors[:, column] = weights[:, column] - rounded[:, column]
            moved[:, start:column] += errors[:, column, None] * moves[column, start:column]
        moved[:, :start] += errors[:, start:end] @ moves[start:end, :start]
    return rounded
