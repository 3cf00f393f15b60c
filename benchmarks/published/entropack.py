"""EntroPack: weights in eights on the lattice E8, entropy coded, without data (arXiv 2609.34185, and its manual).

A row is cut into vectors of eight weights; each becomes the nearest point of E8, which are the vectors of integers, or
of integers and a half, whose sum is even. Every matrix has the same bits for each weight, and each of its rows the step
that costs it least, in squared error and bits.

Conway and Sloane 1982, "Fast quantizing and decoding algorithms for lattice quantizers and codes", for nearest points.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.published.code_length import SCALE_BITS, adaptive_bits, at_bits
from benchmarks.published.linear_maps import LinearMaps, Rounded

DIMENSIONS = 8
OF_ROWS = (-0.5, -0.25, 0.0, 0.25, 0.5)  # binary logarithms of a row's step, relative to that of its matrix
OF_ROW_BITS = math.log2(len(OF_ROWS))


def entropack(maps: LinearMaps, strength: float) -> Rounded:
    """All matrices at -strength bits for each weight."""
    weights, bits = {}, 0.0
    for name, matrix in maps.weights.items():
        weights[name], taken = at_bits(partial(_matrix, matrix), -strength, float(matrix.std()))
        bits += taken
    return Rounded(weights, bits)


def nearest_points(vectors: Tensor) -> Tensor:
    """The nearest points of E8 to vectors ``[n, 8]``."""
    of_integers, of_halves = _even(vectors), _even(vectors - 0.5) + 0.5
    is_nearer = (vectors - of_halves).square().sum(1) < (vectors - of_integers).square().sum(1)
    return torch.where(is_nearer[:, None], of_halves, of_integers)


def _even(vectors: Tensor) -> Tensor:
    """The nearest vectors of integers whose sum is even: where it is odd, the worst coordinate is rounded otherwise."""
    rounded = vectors.round()
    errors = vectors - rounded
    worst = errors.abs().argmax(1, keepdim=True)
    other = torch.where(errors.gather(1, worst) < 0, -1.0, 1.0).to(vectors.dtype)
    is_odd = rounded.sum(1, keepdim=True).remainder(2) != 0
    return rounded.scatter_add(1, worst, torch.where(is_odd, other, torch.zeros_like(other)))


def _matrix(matrix: Tensor, step: float) -> tuple[Tensor, float]:
    """The rounded matrix and its bits; the steps of rows are chosen by the frequencies that one step gives."""
    vectors = _vectors(matrix)
    rates = _Rates(nearest_points(vectors / step))
    weight = 2 * math.log(2) * step**2 / 12  # of a bit, in squared error: what it is worth at high rates
    found, costs = [], []
    for octaves in OF_ROWS:
        own = step * 2.0**octaves
        points = nearest_points(vectors / own)
        error = (vectors - points * own).square().sum(1)
        costs.append((error + weight * rates.of(points)).reshape(len(matrix), -1).sum(1))
        found.append(points)
    chosen = torch.stack(costs).argmin(0).repeat_interleave(len(vectors) // len(matrix))
    points = torch.stack(found)[chosen, torch.arange(len(vectors))]
    steps = step * torch.exp2(torch.tensor(OF_ROWS, dtype=torch.float64))[chosen]
    bits = _bits(points) + OF_ROW_BITS * len(matrix) + SCALE_BITS
    return (points * steps[:, None]).reshape(len(matrix), -1)[:, : matrix.shape[1]], bits


def _vectors(matrix: Tensor) -> Tensor:
    """Vectors ``[n, 8]`` of the rows, which are filled up by zeros."""
    missing = -matrix.shape[1] % DIMENSIONS
    return torch.nn.functional.pad(matrix, (0, missing)).reshape(-1, DIMENSIONS)


def _split(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each point ``[n]`` whether it is of halves, its integers ``[n, 8]``, and whether the first seven are odd."""
    is_half = points[:, 0].remainder(1) != 0
    integers = (points - 0.5 * is_half[:, None]).long()
    return is_half.long(), integers, integers[:, :-1].sum(1).remainder(2)


def _bits(points: Tensor) -> float:
    """Of the kind of each point, of its first seven integers, and of the last, whose parity the others tell."""
    kinds, integers, odd = (each.numpy() for each in _split(points))
    first = adaptive_bits(np.repeat(kinds, DIMENSIONS - 1), integers[:, :-1].ravel())
    return adaptive_bits(np.zeros_like(kinds), kinds) + first + adaptive_bits(2 * kinds + odd, integers[:, -1])


class _Rates:
    """Bits of points, by the frequencies of integers in other points.

    Args:
        points: ``[n, 8]``, whose frequencies they are.
    """

    def __init__(self, points: Tensor) -> None:
        kinds, integers, _ = _split(points)
        self._largest = int(integers.abs().max()) + 4
        numbers = [integers[kinds == kind].ravel() + self._largest for kind in (0, 1)]
        counts = torch.stack([torch.bincount(one, minlength=2 * self._largest + 1) for one in numbers]) + 0.5
        self._table = -(counts / counts.sum(1, keepdim=True)).log2()

    def of(self, points: Tensor) -> Tensor:
        """``[n]``: bits of each point; that the parity of the last integer is known is not counted."""
        kinds, integers, _ = _split(points)
        numbers = integers.clamp(-self._largest, self._largest) + self._largest
        return self._table[kinds[:, None], numbers].sum(1)
