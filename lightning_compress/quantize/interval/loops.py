"""Weights → indices of an interval → weights: compiled loops over float32 weights.

:mod:`~lightning_compress.quantize.interval.interval` and :mod:`~lightning_compress.quantize.interval.payload` have the
same in torch, for other types and for machines without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float64, uint32, uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

Floats = NDArray[np.float32]
Indices = NDArray[np.integer[Any]]


@compiled_exactly
def find_pieces(weights: Floats, half_width: float, step: float, levels: int, indices: Indices) -> None:
    """The number of the piece of the interval that each weight lies in; ``levels + 1`` for weights outside, and NaN.

    Args:
        weights: ``[n]``.
        half_width: of the interval, negative for one that covers nothing.
        step: length of a piece, positive.
        levels: how many pieces.
        indices: ``[n]``, the result.
    """
    last, outlier = float64(levels - 1), uint32(levels + 1)
    for place in range(len(weights)):
        weight = float64(weights[place])
        piece = (weight + half_width) / step
        piece = piece if piece > 0 else 0.0
        piece = piece if piece < last else last
        indices[place] = uint32(piece) if abs(weight) <= half_width else outlier


@compiled_exactly
def mark(indices: Indices, marked: NDArray[np.bool_], index: int) -> None:
    """Put one index in the place of those that are marked.

    Args:
        indices: ``[n]``, are changed.
        marked: ``[n]``.
        index: what they become.
    """
    new = indices.dtype.type(index)  # of one type with the others: a choice between types would become a branch
    for place in range(len(indices)):
        old = indices[place]
        indices[place] = new if marked[place] else old


@compiled_exactly
def restore_indexed(indices: Indices, table: Floats, outliers: Floats, values: Floats) -> int:
    """What indices restore to: values of the table, and in place of its last one the outliers in their order.

    Args:
        indices: ``[n]``; those beyond the table count as outliers.
        table: ``[levels]``.
        outliers: those of these indices first.
        values: ``[n]``, the result; 0 where no outlier is left.

    Returns:
        How many outliers the indices take, which may be more than there are.
    """
    last, taken = uint64(len(table) - 1), uint64(0)
    for place in range(len(indices)):
        index = uint64(indices[place])
        if index < last:
            values[place] = table[index]
        else:
            values[place] = outliers[taken] if taken < uint64(len(outliers)) else 0
            taken += uint64(1)
    return int(taken)
