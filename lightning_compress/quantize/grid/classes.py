"""Choosing scale classes: which rows and columns of a matrix hold larger indices than others.

The scale of an index is modelled as the product of one of its row and one of its column. Each, in thirds of an octave,
is a class. Classes cost their own streams and a table for each context: they are kept only where they save more.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Integers
from lightning_compress.runtime.compiler import has_compiler

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

_PER_OCTAVE = 3
_MOST_SUMS = (8, 64)  # few for small matrices; many where columns differ by orders of magnitude
_SYMBOL_BITS = 7
_SPREAD = 8  # standard deviations whose indices are counted separately
_CHUNK = 1 << 18
_COUNTED = 1 << 20  # indices by which classes are compared
_ROUNDS = 3
_COMPARED = 1 << 10  # rows, and columns, from which the scales of the others are measured
_FLOOR = 1 / 64  # mean square of an index below which scales count as equal
_TABLE_BYTES = 7.0


def choose_classes(indices: Integers, quantizers: Bytes | None) -> Classes:
    """The classes that make a matrix smallest: none, of rows, of columns, or of both, by estimated bytes.

    Args:
        indices: ``[columns, rows]``.
        quantizers: ``[columns, rows]``, 0 or 1; None without a trellis.
    """
    columns, rows = indices.shape
    if min(columns, rows) < 2:
        return Classes()
    every = max(1, indices.size // _COUNTED)
    counted = np.ascontiguousarray(indices[::every]), None if quantizers is None else quantizers[::every]
    share = columns / len(counted[0])
    best, least, tried = Classes(), math.inf, None
    scales = log_scales(indices)
    for most in _MOST_SUMS:
        by_row, by_column = scale_classes(*scales, most)
        if tried is not None and np.array_equal(by_row, tried[0]) and np.array_equal(by_column, tried[1]):
            break
        tried = by_row, by_column
        counts = _count_symbols(*counted, by_row, by_column[::every])
        row_cost, column_cost = (_bytes_of(np.bincount(part).astype(np.float64)) for part in (by_row, by_column))
        for classes, tables, side in (
            (Classes(), counts.sum((0, 1)), 0.0),
            (Classes(by_row, None), counts.sum(1), row_cost),
            (Classes(None, by_column), counts.sum(0), column_cost),
            (Classes(by_row, by_column), _by_sum(counts), row_cost + column_cost),
        ):
            nbytes = _bytes_of(tables, share) + side
            if nbytes < least:
                best, least = classes, nbytes
    return best


def log_scales(indices: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The scales of rows and of columns: log₂ of the root mean square index, in thirds, rounded.

    Of a large matrix some rows give the scales of the columns, and some columns those of the rows.

    Args:
        indices: ``[columns, rows]``.

    Returns:
        ``[rows]`` and ``[columns]``.
    """
    every_column, every_row = (max(1, size // _COMPARED) for size in indices.shape)
    of_rows, of_columns = _mean_squares(indices[::every_column, ::every_row])
    if every_row > 1:
        of_rows = _scales_of(indices[::every_column], of_columns)
    if every_column > 1:
        of_columns = _scales_of(indices[:, ::every_row].T, of_rows[::every_row])
    rows, columns = (np.rint(_PER_OCTAVE / 2 * np.log2(part)).astype(np.int64) for part in (of_rows, of_columns))
    return rows, columns


def _mean_squares(indices: Integers) -> tuple[Singles, Singles]:
    """``[rows]`` and ``[columns]``: numbers whose products come near the squares of indices ``[columns, rows]``."""
    squares = np.square(indices, dtype=np.float32)
    by_row, by_column = np.ones(indices.shape[1], np.float32), np.ones(indices.shape[0], np.float32)
    for _ in range(_ROUNDS):
        by_row = np.maximum((1 / by_column) @ squares / len(by_column), np.float32(_FLOOR))
        by_column = np.maximum(squares @ (1 / by_row) / len(by_row), np.float32(_FLOOR))
    return by_row, by_column


def _scales_of(indices: Integers, known: Singles) -> Singles:
    """``[second]``: what :func:`_mean_squares` gives for the second axis, where that of the first is known."""
    result, weights = np.empty(indices.shape[1], np.float32), 1 / known
    step = max(1, _CHUNK // len(indices))
    for start in range(0, len(result), step):
        part = slice(start, start + step)
        squares = np.square(indices[:, part], dtype=np.float32)
        result[part] = np.maximum(weights @ squares / len(indices), np.float32(_FLOOR))
    return result


def scale_classes(rows: NDArray[np.int64], columns: NDArray[np.int64], most: int) -> tuple[Bytes, Bytes]:
    """Classes of rows and of columns by their scales.

    Args:
        rows: ``[rows]``, see :func:`log_scales`.
        columns: ``[columns]``.
        most: how many values a sum of two classes may have. Where there are more, the fewest rows and columns move.

    Returns:
        ``[rows]`` and ``[columns]`` uint8; the smallest of each is 0.
    """
    columns = _narrowed(columns, 1 + most // 2)
    rows = _narrowed(rows, most - int(columns.max()))
    return rows.astype(np.uint8), _narrowed(columns, most - int(rows.max())).astype(np.uint8)


def _narrowed(values: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Values in the window of ``most`` that holds the most of them, the others moved to its ends, counted from 0."""
    counts = np.bincount(values - values.min())
    window = np.convolve(counts, np.ones(most, np.int64))[most - 1 :] if len(counts) > most else counts[:1]
    low = int(values.min()) + int(window.argmax())
    narrowed: NDArray[np.int64] = np.clip(values, low, low + most - 1)
    narrowed -= narrowed.min()
    return narrowed


def _count_symbols(indices: Integers, quantizers: Bytes | None, by_row: Bytes, by_column: Bytes) -> Doubles:
    """``[row classes, column classes, quantizers, symbols]``: how often each index occurs.

    Fine indices lose low bits, which cost the same in every context; the few that are very large count as one.
    """
    scale = float(np.sqrt(np.mean(np.square(indices, dtype=np.float32))))
    shift = max(0, math.ceil(math.log2(max(_SPREAD * scale, 1))) - _SYMBOL_BITS + 1)
    half = 1 << (_SYMBOL_BITS - 1)
    sizes = (int(by_row.max()) + 1, int(by_column.max()) + 1, 2, 2 * half)
    counts = np.zeros(math.prod(sizes), np.int64)
    if has_compiler():
        from lightning_compress.quantize.grid.walk.counting_loops import count_cells

        along = np.empty((0, 0), np.uint8) if quantizers is None else quantizers
        count_cells(indices, along, by_row, by_column, shift, counts.reshape(sizes))
        return counts.reshape(sizes).astype(np.float64)
    pieces = max(1, _CHUNK // indices.shape[1])
    row_part = by_row.astype(np.int32)[None, :] * sizes[1]
    for start in range(0, len(indices), pieces):
        part = indices[start : start + pieces]
        cells = row_part + by_column[start : start + pieces, None]
        cells = 2 * cells if quantizers is None else 2 * cells + quantizers[start : start + pieces]
        cells = sizes[3] * cells + (np.clip(part >> shift, -half, half - 1) + half)
        counts += np.bincount(cells.reshape(-1), minlength=len(counts))
    return counts.reshape(sizes).astype(np.float64)


def _by_sum(counts: Doubles) -> Doubles:
    """Counts with row class and column class joined into their sum."""
    result = np.zeros((counts.shape[0] + counts.shape[1] - 1, *counts.shape[2:]))
    for row_class, part in enumerate(counts):
        result[row_class : row_class + len(part)] += part
    return result


def _bytes_of(tables: Doubles, share: float = 1.0) -> float:
    """Bytes of groups with ``share`` times these symbol counts (last axis): their entropies, and a table for each."""
    totals = tables.sum(-1)
    surprise = tables * np.log2(np.maximum(tables, 1))
    bits = float((totals * np.log2(np.maximum(totals, 1))).sum() - surprise.sum())
    return share * bits / 8 + _TABLE_BYTES * np.count_nonzero(totals)
