"""Walks over the points of a matrix: compiled loops, which give the same bits on every machine.

The quantizer of a weight depends on the indices before it in its row, and the place of its word on the quantizers of
all weights before it. So the walk goes column by column, and within a column from the first row to the last. A byte for
each row holds its last eight quantizers, the newest in the lowest bit.
"""

from __future__ import annotations

import numpy as np
from numpy import float64, int16, int32, int64, uint8, uint64
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Integers
from lightning_compress.quantize.payload import Words
from lightning_compress.runtime.compilation import compiled_exactly

_HISTORY = uint8(255)
_PANEL = 32  # columns: 16 and 64 take longer, measured
Values = NDArray[np.generic]


@compiled_exactly
def restore_values(
    words: Words,
    next_word: NDArray[np.int64],
    of_rows: Bytes,
    of_columns: Bytes,
    table: NDArray[np.int32],
    steps: Bytes,
    scales: NDArray[np.float64],
    offsets: NDArray[np.float64],
    values: Values,
) -> None:
    """Take each point's word from its context, and write the values of points: scale of the row · point + offset.

    A panel of columns at a time, so that points stay in the cache. Values are computed in float64 and rounded once.

    Args:
        words: ``[n]`` zigzag indices, grouped by context.
        next_word: ``[2 · sums]``: where the words of each sum of classes and quantizer begin; becomes where those that
            are left begin, as if there were enough. Beyond the last word the last is taken, so that a caller can tell
            what was wrong.
        of_rows: ``[rows]`` classes.
        of_columns: ``[columns]`` classes.
        table: ``[2 · alphabet]``: for each word and quantizer twice the point, plus 1 where the index is odd; empty
            without a trellis.
        steps: ``[512]``: for each history of a row and parity of its index the next history; empty without a trellis.
        scales: ``[rows]``.
        offsets: ``[columns]``.
        values: ``[rows, columns]``, the result.
    """
    rows, columns = values.shape
    histories = np.zeros(rows, uint8)
    panel = np.empty((_PANEL, rows), int16)
    is_one_class = True
    for row in range(rows):
        is_one_class &= of_rows[row] == of_rows[0]
    for start in range(0, columns, _PANEL):
        width = min(_PANEL, columns - start)
        for place in range(width):
            of_column = int64(of_columns[start + place])
            if len(steps):
                _take_points(words, next_word, of_rows, of_column, table, steps, histories, panel[place])
            elif is_one_class:
                _take_column(words, next_word, int64(of_rows[0]) + of_column, panel[place])
            else:
                _take_indices(words, next_word, of_rows, of_column, panel[place])
        for row in range(rows):
            for place in range(width):
                values[row, start + place] = scales[row] * float64(panel[place, row]) + offsets[start + place]


@compiled_exactly
def _take_points(
    words: Words,
    next_word: NDArray[np.int64],
    of_rows: Bytes,
    of_column: int,
    table: NDArray[np.int32],
    steps: Bytes,
    histories: Bytes,
    points: Integers,
) -> None:
    """The points of one column; places are unsigned, or the compiler provides for negative ones."""
    last = len(words) - 1
    for row in range(len(points)):
        history = int64(histories[row])
        quantizer = history & 1
        context = uint64(2 * (int64(of_rows[row]) + of_column) + quantizer)
        place = next_word[context]
        next_word[context] = place + 1
        entry = int64(table[uint64(int64(words[uint64(min(place, last))]) << 1 | quantizer)])
        points[row] = int16(entry >> 1)
        histories[row] = steps[uint64(history << 1 | entry & 1)]


@compiled_exactly
def _take_indices(words: Words, next_word: NDArray[np.int64], of_rows: Bytes, of_column: int, points: Integers) -> None:
    """The points of one column without a trellis, which are its indices."""
    last = len(words) - 1
    for row in range(len(points)):
        context = uint64(2 * (int64(of_rows[row]) + of_column))
        place = next_word[context]
        next_word[context] = place + 1
        points[row] = _unzigzag(words[uint64(min(place, last))])


@compiled_exactly
def _take_column(words: Words, next_word: NDArray[np.int64], sum_of_classes: int, points: Integers) -> None:
    """The same where all rows are of one class, so that the words of a column follow each other."""
    place = next_word[2 * sum_of_classes]
    next_word[2 * sum_of_classes] = place + len(points)
    there = max(min(len(words) - place, len(points)), 0)
    for row in range(there):
        points[row] = _unzigzag(words[place + row])
    for row in range(there, len(points)):
        points[row] = _unzigzag(words[len(words) - 1])


@compiled_exactly
def _unzigzag(word: int) -> int:
    """The index that a word stands for."""
    index: int = (int64(word) >> 1) ^ -(int64(word) & 1)
    return index


@compiled_exactly
def find_quantizers(points: Integers, feedback: Bytes, indices: Integers, quantizers: Bytes) -> bool:
    """The indices of points on paths of a trellis, and the quantizers they are chosen in.

    Args:
        points: ``[columns, rows]`` int16.
        feedback: ``[256]``: what the quantizers of a row so far add to the next one, 0 or 1.
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
def write_words(indices: Integers, words: Words) -> None:
    """The words of indices in their order: 0, −1, 1, −2, 2 … → 0, 1, 2, 3, 4 ….

    Args:
        indices: ``[n]`` int16.
        words: ``[n]``, the result, which holds them.
    """
    for place in range(len(indices)):
        index = int32(indices[place])
        words[place] = (index << 1) ^ (index >> 31)
