"""From points to grouped words, and back to points and values: with compiled loops, or with arrays where numba is not.

Arrays take a column of all rows at once; the results are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.grid.contexts import Classes, check_groups, group, ungroup, ungroup_along_trellis
from lightning_compress.quantize.grid.matrix import unzigzag, zigzag
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, Bytes, Integers, indices_of, points_of
from lightning_compress.quantize.payload import Words
from lightning_compress.runtime.compiler import has_compiler, read_only

_CHUNK = 1 << 18


def quantized(points: Tensor, states: int) -> tuple[Integers, Bytes | None]:
    """The indices of points, and the quantizers they are chosen in.

    Args:
        points: ``[rows, columns]`` whole numbers within the range of int16.
        states: of the trellis, 0 for none.

    Returns:
        ``[columns, rows]`` int16, and ``[columns, rows]`` or None without a trellis.

    Raises:
        ValueError: no path of the trellis reaches the points.
    """
    columns = _transposed(points.numpy())
    if not states:
        return columns, None
    if has_compiler():
        from lightning_compress.quantize.grid.walk.compiled_loops import find_quantizers

        indices, quantizers = np.empty_like(columns), np.empty(columns.shape, np.uint8)
        reached = find_quantizers(columns, TRELLISES[states].feedback, indices, quantizers)
    else:
        indices = indices_of(columns)
        quantizers = TRELLISES[states].quantizers(indices)
        reached = np.array_equal(points_of(indices, quantizers), columns)
    if not reached:
        raise ValueError(f"points lie beside every path of the trellis of {states} states")
    return indices, quantizers


def grouped_words(indices: Integers, quantizers: Bytes | None, classes: Classes) -> tuple[Words, tuple[int, ...]]:
    """Zigzag words in the order of their contexts, in the narrower type that holds them, and how many each context has.

    Args:
        indices: ``[columns, rows]`` int16.
        quantizers: ``[columns, rows]``; None without a trellis.
        classes: of the rows and columns.
    """
    columns, rows = indices.shape
    contexts = classes.contexts(1 if quantizers is None else 2)
    if contexts == 1 or not has_compiler():
        return group(zigzag(indices), classes.map(rows, columns, quantizers), contexts)
    from lightning_compress.quantize.grid.walk.compiled_loops import group_words

    along = np.empty((0, 0), np.uint8) if quantizers is None else quantizers
    of_rows, of_columns = map(read_only, classes.of(rows, columns))
    counts = np.zeros(contexts, np.int64)
    width = np.dtype(np.uint8 if _largest_word(indices) < 1 << 8 else np.uint16)
    group_words(indices, along, of_rows, of_columns, counts, np.empty(0, width))
    words = np.empty(indices.size, width)
    group_words(indices, along, of_rows, of_columns, np.cumsum(counts) - counts, words)
    return words, tuple(counts.tolist())


def restored_points(
    words: Words, groups: tuple[int, ...], classes: Classes, shape: tuple[int, int], states: int
) -> Tensor:
    """``[rows, columns]`` int16 points, from words grouped by context.

    Args:
        words: ``[n]`` zigzag indices, n > 0.
        groups: how many each context has.
        classes: of the rows and columns.
        shape: rows and columns.
        states: of the trellis, 0 for none.

    Raises:
        FormatError: a context has another number of words than the matrix takes from it.
    """
    rows, columns = shape
    if has_compiler():
        from lightning_compress.quantize.grid.walk.compiled_loops import take_points

        by_column = np.empty((columns, rows), np.int16)
        lengths = np.array(groups, np.int64)
        starts = np.cumsum(lengths) - lengths
        next_word = starts.copy()
        feedback = TRELLISES[states].feedback if states else np.zeros(1 << 8, np.uint8)
        of_rows, of_columns = map(read_only, classes.of(rows, columns))
        quantizers = 2 if states else 1
        take_points(read_only(words), next_word, of_rows, of_columns, quantizers, read_only(feedback), by_column)
        check_groups(groups, next_word - starts)
        return torch.from_numpy(_transposed(by_column))
    if states:
        return _points_of_words(*ungroup_along_trellis(words, groups, classes, shape, TRELLISES[states]))
    return _points_of_words(ungroup(words, groups, classes.map(rows, columns)), None)


def restored_values(points: Tensor, scales: Tensor, offsets: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``[rows, columns]``: point · scale of the row + offset of the column, in float64, rounded to the dtype.

    Args:
        points: ``[rows, columns]`` int16.
        scales: ``[rows]`` float64.
        offsets: ``[columns]`` float64; None for none.
        dtype: of the result.
    """
    if dtype == torch.float32 and has_compiler():
        from lightning_compress.quantize.grid.walk.compiled_loops import scale_points

        result = torch.empty(points.shape, dtype=dtype)
        added: NDArray[np.float64] = np.empty(0) if offsets is None else offsets.numpy()
        scale_points(np.ascontiguousarray(points.numpy(), np.int16), scales.numpy(), added, result.numpy())
        return result
    result = torch.empty(points.shape, dtype=dtype)
    size = max(1, _CHUNK // max(1, points.shape[1]))
    for start in range(0, len(result), size):
        part = slice(start, start + size)
        values = points[part].double().mul_(scales[part, None])
        result[part] = values if offsets is None else values.add_(offsets)
    return result


def _transposed(matrix: Integers) -> Integers:
    """``[rows, columns]`` → ``[columns, rows]`` int16, contiguous."""
    if not has_compiler():
        return np.ascontiguousarray(matrix.T).astype(np.int16, copy=False)
    from lightning_compress.quantize.grid.walk.compiled_loops import transpose

    result = np.empty(matrix.shape[::-1], np.int16)
    transpose(np.ascontiguousarray(matrix, np.int16), result)
    return result


def _largest_word(indices: Integers) -> int:
    least, most = int(indices.min(initial=0)), int(indices.max(initial=0))
    return max(2 * most, -2 * least - 1)


def _points_of_words(words: Words, quantizers: Bytes | None) -> Tensor:
    """``[columns, rows]`` words, and their quantizers with a trellis → ``[rows, columns]`` points, int16."""
    result = np.empty(words.shape[::-1], np.int16)
    step = max(1, _CHUNK // words.shape[1])
    for start in range(0, len(words), step):
        part = slice(start, start + step)
        indices = unzigzag(words[part])
        result[:, part] = (indices if quantizers is None else points_of(indices, quantizers[part])).T
    return torch.from_numpy(result)
