"""The correction of a matrix that gets other inputs than those of the exact model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DAMPING = 0.05  # of the mean square of an input

InputPair = tuple[Tensor, Tensor]  # ``[n, columns]`` each, at the same places: of the exact model, and of the present


def correction(weight: Tensor, pairs: Sequence[InputPair]) -> Tensor:
    """What to add to a matrix so that its outputs are as close as possible to those of the exact model.

    For inputs x of the exact model and y of the present one, ŵ = w · E[x yᵀ] · E[y yᵀ]⁻¹ makes the squared difference
    of w x and ŵ y least; a little of the mean square is added to the diagonal. The correction ŵ − w is shrunk by as
    much as one half of the inputs fails to confirm that of the other half.

    Args:
        weight: ``[rows, columns]`` float32.
        pairs: inputs of both models; every second pair is in the same half.

    Returns:
        ``[rows, columns]`` float32; zeros where there are fewer than two pairs, or inputs that are not finite.
    """
    if len(pairs) < 2:
        return torch.zeros_like(weight)
    w = weight.double()
    first, second = (_moments(pairs[half::2]) for half in (0, 1))
    if not all(bool(moment.isfinite().all()) for moment in (*first, *second)):
        return torch.zeros_like(weight)
    share = (_confirmed(w, first, second) + _confirmed(w, second, first)) / 2
    whole = _solved(w, first[0] + second[0], first[1] + second[1])
    return (min(max(share, 0.0), 1.0) * whole).float()


def _moments(pairs: Sequence[InputPair]) -> tuple[Tensor, Tensor]:
    """``[columns, columns]`` float64 each: Σ (x − y) yᵀ, and Σ y yᵀ."""
    x, y = (torch.cat(side).float() for side in zip(*pairs, strict=True))
    return ((x - y).T @ y).double(), (y.T @ y).double()


def _solved(w: Tensor, cross: Tensor, square: Tensor) -> Tensor:
    """``[rows, columns]``: the whole correction."""
    damping = _DAMPING * float(square.diagonal().mean()) or 1.0
    damped = square + damping * torch.eye(len(square), dtype=square.dtype)
    found: Tensor = torch.linalg.solve(damped, (w @ cross).T).T
    return found


def _confirmed(w: Tensor, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor]) -> float:
    """The multiple of the correction by one half of the inputs that is best for the other half."""
    found = _solved(w, *here)
    square = float(((found @ there[1]) * found).sum())
    return float((found * (w @ there[0])).sum()) / square if square > 0 else 0.0
