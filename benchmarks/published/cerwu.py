"""CERWU: error feedback with the rate in the objective (Conzelmann and Bamler 2025, arXiv 2505.18758, section 3).

The objective of a matrix is ½ tr(E H Eᵀ) + λ · bits. A quadratic estimate of the bits, γ/2 · q² for an index q, moves
the weights towards 0 before they are rounded and is added to H; what it misses of the bits decides between neighbouring
indices. Every matrix has the same number of indices within its largest magnitude, and the same λ.

Theirs is the coder DeepCABAC, whose state gives the bits of an index; here the bits of an index are those of its
frequency in a first pass.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from benchmarks.published.code_length import SCALE_BITS, matrix_bits
from benchmarks.published.feedback import rounded_columns
from benchmarks.published.linear_maps import LinearMaps, Rounded, damped

DAMPING = 0.01
PASSES = 2  # the first finds the frequencies


def cerwu(maps: LinearMaps, strength: float, *, indices: int) -> Rounded:
    """All matrices at λ = 4^strength.

    Args:
        maps: the matrices.
        strength: grows by 1 where the loss may grow fourfold.
        indices: between the largest magnitude and its negative, in every matrix.
    """
    weights, bits = {}, 0.0
    for name, matrix in maps.weights.items():
        step = 2 * float(matrix.abs().max()) / indices
        found = _matrix(matrix / step, damped(maps.moments[name], DAMPING) * step**2, 4.0**strength)
        weights[name] = found * step
        bits += matrix_bits(found.long().numpy()) + SCALE_BITS
    return Rounded(weights, bits)


def _matrix(matrix: Tensor, curvature: Tensor, multiplier: float) -> Tensor:
    """Indices of a matrix in units of its step."""
    gamma = 1 / (math.log(2) * float(matrix.var()))
    whole = curvature + multiplier * gamma * torch.eye(len(curvature), dtype=torch.float64)
    moved = torch.linalg.solve(whole, curvature @ matrix.T).T
    lower, largest = torch.linalg.cholesky(whole), int(matrix.abs().max()) + 1
    halves, indices = lower.diagonal().square() / 2, moved.round()
    for _ in range(PASSES):
        rates = _rates(indices, largest) - gamma / 2 * torch.arange(-largest, largest + 1).square()
        choose = partial(_cheapest, halves, multiplier * rates, largest)
        indices = rounded_columns(moved, lower, choose)
    return indices


def _cheapest(halves: Tensor, costs: Tensor, largest: int, column: int, values: Tensor) -> Tensor:
    """Of the four nearest indices and 0, the one of least error and bits.

    Args:
        halves: ``[columns]``, half of the squared diagonal of L.
        costs: of each index from -largest to largest.
        largest: magnitude of an index.
        column: which one is rounded.
        values: of the column.
    """
    below = values.floor()
    offered = torch.stack([below, below + 1, below - 1, below + 2, torch.zeros_like(below)]).clamp(-largest, largest)
    total = halves[column] * (offered - values).square() + costs[(offered + largest).long()]
    return offered.gather(0, total.argmin(0, keepdim=True))[0]


def _rates(indices: Tensor, largest: int) -> Tensor:
    """``[2 · largest + 1]``: bits of each index by its frequency, one more than counted."""
    numbers = (indices.clamp(-largest, largest) + largest).long().ravel()
    counts = torch.bincount(numbers, minlength=2 * largest + 1).double() + 1
    return -(counts / counts.sum()).log2()
