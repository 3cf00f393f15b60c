"""Contexts: the symbols of one matrix in groups of similar magnitude, each coded with its own distribution.

Rows and columns have classes; the context of a weight is the sum of its two classes. With a trellis each sum has two
contexts, one for each quantizer, since indices have different frequencies in the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Trellis
from lightning_compress.quantize.payload import Words

MAX_CONTEXTS = 256
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class Classes:
    """Scale classes of the rows and columns of a matrix, small numbers from 0.

    Attributes:
        rows: ``[rows]`` uint8; None where all are of class 0.
        columns: ``[columns]`` uint8; None where all are of class 0.
    """

    rows: Bytes | None = None
    columns: Bytes | None = None

    @property
    def sums(self) -> int:
        """How many values the sum of a row's and a column's class can have."""
        return 1 + sum(int(part.max(initial=0)) for part in (self.rows, self.columns) if part is not None)

    def contexts(self, quantizers: int) -> int:
        """How many contexts there are: one for each sum and each of the quantizers (1, or 2 with a trellis)."""
        return quantizers * self.sums

    def of(self, rows: int, columns: int) -> tuple[Bytes, Bytes]:
        """``[rows]`` and ``[columns]``: the class of each row and column."""
        of_rows = np.zeros(rows, np.uint8) if self.rows is None else self.rows
        return of_rows, np.zeros(columns, np.uint8) if self.columns is None else self.columns

    def map(self, rows: int, columns: int, quantizers: Bytes | None = None) -> Bytes:
        """The context of every weight: row class + column class; with quantizers, twice that + quantizer.

        Args:
            rows: how many.
            columns: how many.
            quantizers: ``[columns, rows]``, 0 or 1; None without a trellis.

        Returns:
            ``[columns, rows]``.
        """
        of_rows, of_columns = self.of(rows, columns)
        sums = of_columns[:, None] + of_rows[None, :]
        return sums if quantizers is None else 2 * sums + quantizers


def group(words: Words, contexts: Bytes, count: int) -> tuple[Words, tuple[int, ...]]:
    """Words in the order of their contexts, and how many each context has.

    Args:
        words: ``[columns, rows]``.
        contexts: ``[columns, rows]``, below ``count``.
        count: how many contexts.
    """
    if count == 1:
        return words.reshape(-1), (words.size,)
    groups = [words[contexts == context] for context in range(count)]
    return np.concatenate(groups), tuple(len(members) for members in groups)


def ungroup(words: Words, groups: Sequence[int], contexts: Bytes) -> Words:
    """``[columns, rows]`` words whose contexts are known beforehand; the inverse of :func:`group`.

    Raises:
        FormatError: another number of words in a context than the classes give it.
    """
    if len(groups) == 1:
        return words.reshape(contexts.shape)
    check_groups(groups, _counts(contexts.reshape(-1), len(groups)))
    result, flat = np.empty(contexts.size, words.dtype), contexts.reshape(-1)
    next_word = np.cumsum(groups) - groups
    for start in range(0, len(flat), _CHUNK):
        part = flat[start : start + _CHUNK]
        order = np.argsort(part, kind="stable")
        counts = np.bincount(part, minlength=len(groups))
        # Sorted by context, the k-th element of a context takes the k-th of its words that is left.
        first = np.cumsum(counts) - counts
        sources = np.arange(len(part)) + np.repeat(next_word - first, counts)
        result[start : start + _CHUNK][order] = words[sources]
        next_word += counts
    return result.reshape(contexts.shape)


def ungroup_along_trellis(
    words: Words, groups: Sequence[int], classes: Classes, shape: tuple[int, int], trellis: Trellis
) -> tuple[Words, Bytes]:
    """Put grouped words back along a trellis, where the words of a row determine the contexts of those after them.

    Column by column, all rows at once. Rows are sorted by class, so a row's position among the words of its context is
    the number of rows before it, in its class, with the same quantizer.

    Args:
        words: ``[n]`` zigzag indices, grouped.
        groups: how many each context has.
        classes: of the rows and columns.
        shape: rows and columns.
        trellis: the trellis.

    Returns:
        ``[columns, rows]`` words, and ``[columns, rows]`` the quantizer of each.

    Raises:
        FormatError: a context has another number of words than the path takes from it.
    """
    rows, columns = shape
    of_rows, of_columns = classes.of(rows, columns)
    order = np.argsort(of_rows, kind="stable")
    present, sizes = np.unique(of_rows, return_counts=True)
    ends = np.cumsum(sizes)
    within = np.arange(rows) - np.repeat(ends - sizes, sizes)
    lengths = np.array(groups, np.int64)
    starts = np.cumsum(lengths) - lengths
    next_word = starts.copy()
    taken, quantizers = np.empty((columns, rows), words.dtype), np.empty((columns, rows), np.uint8)
    memory = max(trellis.lags)
    history = [np.zeros(rows, np.uint8)] * (memory + 1)
    for column in range(columns):
        quantizer = history[0]
        ones = np.cumsum(quantizer, dtype=np.int64)
        context = 2 * (present.astype(np.int64) + of_columns[column])
        up_to = ones[ends - 1]
        of_class = np.diff(up_to, prepend=0)
        earlier = up_to - of_class
        from_0 = np.repeat(next_word[context] + earlier, sizes) + within - ones
        from_1 = np.repeat(next_word[context + 1] - earlier - 1, sizes) + ones
        words.take(np.where(quantizer, from_1, from_0), mode="clip", out=taken[column])
        next_word[context] += sizes - of_class
        next_word[context + 1] += of_class
        quantizers[column] = quantizer
        odd = ((taken[column] + 1) >> 1).astype(np.uint8) & 1
        history = [trellis.next_quantizers(odd, history[1:]), *history[:-1]]
    check_groups(groups, next_word - starts)
    back = np.empty_like(order)
    back[order] = np.arange(rows)
    return taken[:, back], quantizers[:, back]


def _counts(contexts: Bytes, number: int) -> NDArray[np.int64]:
    """``[number]``: how many weights each context has."""
    counts = np.zeros(number, np.int64)
    for start in range(0, len(contexts), _CHUNK):
        counts += np.bincount(contexts[start : start + _CHUNK], minlength=number)
    return counts


def check_groups(groups: Sequence[int], found: NDArray[np.integer[Any]]) -> None:
    """Check that each context has as many words as are found.

    Raises:
        FormatError: it has not.
    """
    for context, (expected, found_words) in enumerate(zip(groups, found.tolist(), strict=True)):
        if expected != found_words:
            raise FormatError(
                f"context {context} is said to have {expected} weights, and the matrix has {found_words} of it"
            )
