"""From points to grouped words, and back to points and values: with compiled loops, or with arrays where numba is not.

Arrays take a column of all rows at once; the results are the same.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.grid.contexts import Classes, check_groups, group, ungroup, ungroup_along_trellis
from lightning_compress.quantize.grid.matrix import summands, unzigzag, zigzag
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, Bytes, Integers, indices_of, points_of
from lightning_compress.quantize.payload import Words
from lightning_compress.runtime.compiler import has_compiler, loops_take, read_only

_CHUNK = 1 << 18
_FEW_WORDS = 1 << 8


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


def nearest_indices(weights: Tensor, states: int) -> Integers:
    """``[columns, rows]`` int16: the indices of the points nearest to weights, of every second point along a trellis.

    Args:
        weights: ``[rows, columns]`` float32, none beyond ±32760.
        states: of the trellis, 0 for none.
    """
    spacing = 2 if states else 1
    result: Integers = np.empty(weights.shape[::-1], np.int16)
    if not loops_take(weights):
        result[:] = np.rint(weights.numpy().T / spacing)
        return result
    from lightning_compress.quantize.grid.walk.matrix_loops import transpose_nearest

    transpose_nearest(read_only(weights.contiguous().numpy()), float(spacing), result)
    return result


def grouped_words(indices: Integers, quantizers: Bytes | None, classes: Classes) -> tuple[Words, tuple[int, ...]]:
    """Zigzag words in the order of their contexts, in the narrower type that holds them, and how many each context has.

    Args:
        indices: ``[columns, rows]`` int16.
        quantizers: ``[columns, rows]``; None without a trellis.
        classes: of the rows and columns.
    """
    columns, rows = indices.shape
    contexts = classes.contexts(1 if quantizers is None else 2)
    if not has_compiler():
        return group(zigzag(indices), classes.map(rows, columns, quantizers), contexts)
    from lightning_compress.quantize.grid.walk.compiled_loops import group_words, write_words

    words = np.empty(indices.size, np.uint8 if _largest_word(indices) < 1 << 8 else np.uint16)
    if contexts == 1:
        write_words(indices.reshape(-1), words)
        return words, (len(words),)
    along = np.empty((0, 0), np.uint8) if quantizers is None else quantizers
    of_rows, of_columns = map(read_only, classes.of(rows, columns))
    counts = np.zeros(contexts, np.int64)
    group_words(indices, along, of_rows, of_columns, counts, words[:0])
    group_words(indices, along, of_rows, of_columns, np.cumsum(counts) - counts, words)
    return words, tuple(counts.tolist())


def restored_points(
    words: Words, groups: tuple[int, ...], classes: Classes, shape: tuple[int, int], states: int
) -> Tensor:
    """``[rows, columns]`` int16 points; arguments and errors as for :func:`restored_values`."""
    return _walked(words, groups, classes, shape, states, torch.ones(shape[0], dtype=torch.float64), None, torch.int16)


def restored_values(
    words: Words,
    groups: tuple[int, ...],
    classes: Classes,
    shape: tuple[int, int],
    states: int,
    scales: Tensor,
    offsets: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """``[rows, columns]``: point · scale of the row + offset of the column, in float64, rounded to the dtype.

    Args:
        words: ``[n]`` zigzag indices, n > 0, grouped by context.
        groups: how many each context has.
        classes: of the rows and columns.
        shape: rows and columns.
        states: of the trellis, 0 for none.
        scales: ``[rows]`` float64.
        offsets: ``[columns]`` float64; None for none.
        dtype: of the result, a floating-point type of 16 to 64 bits.

    Raises:
        FormatError: a context has another number of words than the matrix takes from it.
    """
    if dtype in (torch.float32, torch.float64):
        return _walked(words, groups, classes, shape, states, scales, offsets, dtype)
    return scaled_points(restored_points(words, groups, classes, shape, states), scales, offsets, dtype)


def scaled_points(points: Tensor, scales: Tensor, offsets: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``[rows, columns]`` points int16 → values, on their device; other arguments as for :func:`restored_values`."""
    result = torch.empty(points.shape, dtype=dtype, device=points.device)
    if loops_take(result):
        from lightning_compress.quantize.grid.walk.matrix_loops import scale_points

        whole = read_only(points.to(torch.int16).contiguous().numpy())
        scale_points(whole, read_only(scales.numpy()), summands(offsets), result.numpy())
        return result
    size = max(1, _CHUNK // max(1, points.shape[1]))
    for start in range(0, len(result), size):
        part = slice(start, start + size)
        values = points[part].double().mul_(scales[part, None])
        result[part] = values if offsets is None else values.add_(offsets)
    return result


def _walked(
    words: Words,
    groups: tuple[int, ...],
    classes: Classes,
    shape: tuple[int, int],
    states: int,
    scales: Tensor,
    offsets: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Values of a dtype that NumPy has."""
    rows, columns = shape
    if not has_compiler():
        if states:
            points = _points_of_words(*ungroup_along_trellis(words, groups, classes, shape, TRELLISES[states]))
        else:
            points = _points_of_words(ungroup(words, groups, classes.map(rows, columns)), None)
        return points if dtype == torch.int16 else scaled_points(points, scales, offsets, dtype)
    from lightning_compress.quantize.grid.walk.compiled_loops import restore_values

    result = torch.empty(shape, dtype=dtype)
    lengths = np.zeros((classes.sums, 2), np.int64)  # without a trellis no row leaves quantizer 0
    lengths[:, : 2 if states else 1] = np.reshape(groups, (classes.sums, -1))
    ends = np.cumsum(lengths)
    next_word = ends - lengths.reshape(-1)
    added: NDArray[np.float64] = np.zeros(columns) if offsets is None else offsets.numpy()
    of_rows, of_columns = map(read_only, classes.of(rows, columns))
    table, steps = read_only(_entries(words, states)), read_only(_steps(states))
    factors, summands = read_only(scales.numpy()), read_only(added)
    restore_values(read_only(words), next_word, of_rows, of_columns, table, steps, factors, summands, result.numpy())
    if not np.array_equal(next_word, ends):
        taken = (next_word - ends).reshape(lengths.shape) + lengths
        check_groups(groups, taken[:, : 2 if states else 1].reshape(-1))
    return result


def _entries(words: Words, states: int) -> NDArray[np.int32]:
    """``[2 · (largest + 1)]``: for each word and quantizer twice the point, plus 1 where the index is odd.

    Empty without a trellis.
    """
    if not states:
        return np.empty(0, np.int32)
    largest = int(words.max())
    return _table(max(_FEW_WORDS, 1 << largest.bit_length()))[: 2 * (largest + 1)]


@cache
def _table(words: int) -> NDArray[np.int32]:
    """The entries of so many words, which the loops of all matrices share."""
    indices = unzigzag(np.arange(words, dtype=np.uint16)).astype(np.int32)
    quantizers = np.arange(2)
    points = 2 * indices[:, None] - np.sign(indices)[:, None] * quantizers
    return (2 * points + (indices & 1)[:, None]).astype(np.int32).reshape(-1)


@cache
def _steps(states: int) -> Bytes:
    """``[512]``: for each of the last eight quantizers of a row and the parity of its index the next eight.

    Empty without a trellis.
    """
    if not states:
        return np.empty(0, np.uint8)
    histories, odd = np.divmod(np.arange(1 << 9), 2)
    return (histories << 1 | TRELLISES[states].feedback[histories] ^ odd).astype(np.uint8)


def _transposed(matrix: Integers) -> Integers:
    """``[rows, columns]`` → ``[columns, rows]`` int16, contiguous."""
    if not has_compiler():
        return np.ascontiguousarray(matrix.T).astype(np.int16, copy=False)
    from lightning_compress.quantize.grid.walk.matrix_loops import transpose

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
