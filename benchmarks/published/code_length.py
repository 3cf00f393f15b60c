"""Bits that an ideal adaptive coder needs: no real coder of these integers takes less without knowing more of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]

SCALE_BITS = 16  # of a step or a scale
NEAR, TRIES = 0.01, 12  # bits for each weight that are near enough, and how often a step is corrected


def adaptive_bits(groups: Integers, values: Integers) -> float:
    """Bits of values, coded one after another by the frequencies so far in their group (Krichevsky and Trofimov 1981).

    The coder knows the alphabet of all values in advance, which costs nothing here.

    Args:
        groups: ``[values]``, not negative: values of one group share their frequencies.
        values: ``[values]``.
    """
    alphabet, symbols = np.unique(values, return_inverse=True)
    count = np.bincount(groups * len(alphabet) + symbols.ravel(), minlength=(int(groups.max()) + 1) * len(alphabet))
    counts = count.reshape(-1, len(alphabet))
    half, counted = len(alphabet) / 2, torch.from_numpy(counts.astype(np.float64))
    nats = torch.lgamma(counted.sum(1) + half) - torch.lgamma(counted + 0.5).sum(1)
    none = math.lgamma(half) - len(alphabet) * math.lgamma(0.5)
    return float((nats - none).sum()) / math.log(2)


def matrix_bits(indices: Integers) -> float:
    """Bits of a matrix ``[rows, columns]``: as a whole, by rows or by columns, whichever takes least."""
    rows, columns = np.indices(indices.shape)
    values = indices.ravel()
    return min(adaptive_bits(groups.ravel(), values) for groups in (np.zeros_like(rows), rows, columns))


def at_bits(
    round_at: Callable[[float], tuple[Tensor, float]], bits_per_weight: float, step: float
) -> tuple[Tensor, float]:
    """A rounded matrix that takes about so many bits for each weight, and its bits.

    Args:
        round_at: step → the rounded matrix, and its bits; twice the step takes a bit less for each weight, about.
        bits_per_weight: that are wanted.
        step: the first one; each is corrected by the bits that it misses.
    """
    for _ in range(TRIES):
        rounded, bits = round_at(step)
        missed = bits / rounded.numel() - bits_per_weight
        if abs(missed) < NEAR:
            break
        step *= 2.0**missed
    return rounded, bits
