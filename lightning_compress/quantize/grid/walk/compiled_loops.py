"""Walks over the points of a matrix: compiled loops, which give the same bits on every machine.

The quantizer of a weight depends on the indices before it in its row, and the place of its word on the quantizers of
all weights before it. So the walk goes column by column, and within a column from the first row to the last. A byte for
each row holds its last eight quantizers, the newest in the lowest bit.
"""

from __future__ import annotations

import numpy as np
from numpy import float64, int16, int64, uint8
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers
from lightning_compress.quantize.payload import Words
from lightning_compress.runtime.compilation import compiled_exactly

_HISTORY = uint8(255)
_SIDE = 32  # of a block


@compiled_exactly
def take_points(
    words: Words,
    next_word: NDArray[np.int64],
    of_rows: Bytes,
    of_columns: Bytes,
    quantizers: int,
    feedback: Bytes,
    points: Integers,
) -> None:
    """Take each point's word from its context.

    Args:
        words: ``[n]`` zigzag indices, grouped by context.
        next_word: ``[contexts]``: where the words of each context begin; becomes where those that are left begin, as if
            there were enough. Beyond the last word the last is taken, so that a caller can tell what was wrong.
        of_rows: ``[rows]`` classes.
        of_columns: ``[columns]`` classes.
        quantizers: 2 with a trellis, else 1.
        feedback: ``[256]``: what the quantizers of a row so far add to the next one, 0 or 1.
        points: ``[columns, rows]`` int16, the result.
    """
    columns, rows = points.shape
    last = len(words) - 1
    history = np.zeros(rows, uint8)
    odd = int64(quantizers - 1)
    for column in range(columns):
        for row in range(rows):
            quantizer = int64(history[row]) & odd
            context = quantizers * (int64(of_rows[row]) + int64(of_columns[column])) + quantizer
            place = next_word[context]
            next_word[context] = place + 1
            word = int64(words[min(place, last)])
            index = (word >> 1) ^ -(word & 1)
            sign = int64(index > 0) - int64(index < 0)
            points[column, row] = int16(quantizers * index - sign * quantizer)
            following = ((word + 1) >> 1 ^ int64(feedback[history[row]])) & odd
            history[row] = uint8(int64(history[row]) << 1 | following) & _HISTORY


@compiled_exactly
def find_quantizers(points: Integers, feedback: Bytes, indices: Integers, quantizers: Bytes) -> bool:
    """The indices of points on paths of a trellis, and the quantizers they are chosen in.

    Args:
        points: ``[columns, rows]`` int16.
        feedback: see :func:`take_points`.
        indices: ``[columns, rows]`` int16, a result.
        quantizers: ``[columns, rows]``, a result.

    Returns:
        Whether all points are on paths from state 0.
    """
    columns, rows = points.shape
    history = np.zeros(rows, uint8)
    reached = True
    for column in range(columns):
        for row in range(rows):
            point, quantizer = int64(points[column, row]), int64(history[row]) & 1
            sign = int64(point > 0) - int64(point < 0)
            size = (abs(point) + 1) >> 1
            reached &= 2 * size - quantizer * abs(sign) == abs(point)
            indices[column, row] = int16(sign * size)
            quantizers[column, row] = uint8(quantizer)
            following = (size ^ int64(feedback[history[row]])) & 1
            history[row] = uint8(int64(history[row]) << 1 | following) & _HISTORY
    return reached


@compiled_exactly
def group_words(
    indices: Integers,
    quantizers: Bytes,
    of_rows: Bytes,
    of_columns: Bytes,
    next_word: NDArray[np.int64],
    words: Words,
) -> None:
    """Write indices as words, grouped by context.

    Args:
        indices: ``[columns, rows]`` int16.
        quantizers: ``[columns, rows]``; ``[0, 0]`` without a trellis.
        of_rows: ``[rows]`` classes.
        of_columns: ``[columns]`` classes.
        next_word: ``[contexts]``: where the words of each context begin; becomes where they end.
        words: ``[n]``, the result. With no words they are only counted.
    """
    columns, rows = indices.shape
    along = len(quantizers) > 0
    for column in range(columns):
        for row in range(rows):
            context = int64(of_rows[row]) + int64(of_columns[column])
            if along:
                context = 2 * context + int64(quantizers[column, row])
            place = next_word[context]
            next_word[context] = place + 1
            if len(words):
                index = int64(indices[column, row])
                words[place] = (index << 1) ^ (index >> 63)


@compiled_exactly
def transpose(matrix: Integers, result: Integers) -> None:
    """``[rows, columns]`` → ``[columns, rows]``, block by block, as the cache likes it."""
    rows, columns = matrix.shape
    for top in range(0, rows, _SIDE):
        for left in range(0, columns, _SIDE):
            for column in range(left, min(left + _SIDE, columns)):
                for row in range(top, min(top + _SIDE, rows)):
                    result[column, row] = matrix[row, column]


@compiled_exactly
def scale_points(points: Integers, scales: NDArray[np.float64], offsets: NDArray[np.float64], values: Floats) -> None:
    """Points times the scale of their row, plus the offset of their column, computed in float64 and rounded once.

    Args:
        points: ``[rows, columns]``.
        scales: ``[rows]``.
        offsets: ``[columns]``; empty for none.
        values: ``[rows, columns]`` float32, the result.
    """
    rows, columns = points.shape
    for row in range(rows):
        if len(offsets):
            for column in range(columns):
                values[row, column] = scales[row] * float64(points[row, column]) + offsets[column]
        else:
            for column in range(columns):
                values[row, column] = scales[row] * float64(points[row, column])
