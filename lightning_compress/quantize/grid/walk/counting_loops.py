"""How often indices occur: compiled loops."""

from __future__ import annotations

import numpy as np
from numpy import int64, uint8, uint64
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Integers
from lightning_compress.runtime.compilation import compiled_exactly


@compiled_exactly
def count_sizes(points: Integers, feedback: Bytes, quantizers: int, sums: Bytes, counts: NDArray[np.int64]) -> None:
    """Count the magnitudes of indices.

    Args:
        points: ``[rows, columns]`` int16, with a trellis on its paths from state 0.
        feedback: ``[256]``: what the quantizers of a row so far add to the next one, 0 or 1.
        quantizers: 2 with a trellis, else 1.
        sums: ``[columns, rows]`` sums of the classes of rows and columns; ``[0, 0]`` where there is one.
        counts: ``[sums, 2, n]``: is increased, by sum, quantizer and magnitude; the last stands for all beyond.
    """
    rows, columns = points.shape
    flat, sizes, odd = counts.reshape(-1), counts.shape[2], int64(quantizers - 1)
    for row in range(rows):
        history = int64(0)
        for column in range(columns):
            size = (abs(int64(points[row, column])) + odd) >> odd
            cell = (history & odd) * sizes + min(size, sizes - 1)
            if len(sums):
                cell += 2 * sizes * int64(sums[column, row])
            flat[uint64(cell)] += 1
            history = (history << 1 | ((size ^ int64(feedback[uint64(history)])) & odd)) & 255


@compiled_exactly
def count_cells(
    indices: Integers,
    quantizers: Bytes,
    by_row: Bytes,
    by_column: Bytes,
    shift: int,
    counts: NDArray[np.int64],
) -> None:
    """Count indices by the classes of their row and column, and by quantizer.

    Args:
        indices: ``[columns, rows]`` int16.
        quantizers: ``[columns, rows]``, 0 or 1; ``[0, 0]`` without a trellis.
        by_row: ``[rows]`` classes.
        by_column: ``[columns]`` classes.
        shift: low bits of indices that do not count.
        counts: ``[row classes, column classes, 2, n]``: is increased; index 0 is in the middle, and the first and the
            last stand for all beyond.
    """
    columns, rows = indices.shape
    flat, symbols = counts.reshape(-1), counts.shape[3]
    half, along = symbols // 2, len(quantizers) > 0
    for column in range(columns):
        for row in range(rows):
            quantizer = quantizers[column, row] if along else uint8(0)
            cell = 2 * (int64(by_row[row]) * counts.shape[1] + int64(by_column[column])) + int64(quantizer)
            symbol = min(max(int64(indices[column, row]) >> shift, -half), half - 1) + half
            flat[uint64(symbols * cell + symbol)] += 1
