"""Asymmetric numeral systems: a static model of the stream, coded to within a few bytes of its entropy.

J. Duda 2013, "Asymmetric numeral systems"; the coder is constriction's (R. Bamler 2022, "Understanding entropy
coding with asymmetric numeral systems"). docs/format.md gives its arithmetic, so that a reader in another language
needs no library.
"""

from __future__ import annotations

import math
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding import ans_stack
from lightning_compress.coding.coder import (
    MAX_ALPHABET,
    Statistics,
    Words,
    dtype_of,
)
from lightning_compress.coding.models.frequency_table import best_table, read_table
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_PRECISION = 24  # bits of a probability, the most that a symbol can cost
_FREE = 4
_SMALL_ALPHABET = 1 << 12
_MOST_DEFLATED = 1032  # bytes in one
_CHUNK = 1 << 20
_TABLES = 64 * MAX_ALPHABET + 4 * _CHUNK  # bytes of table and model, and of one chunk of symbols


class Ans:
    """A frequency table, then the 32-bit words of a range ANS coder: 64-bit state, 24-bit probabilities."""

    id: ClassVar[str] = "ans"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The entropy, less the cost of a few symbols; None for streams of one symbol or of too many symbols.

        For a large alphabet the least that its table takes is added, as most streams of few words are not coded by
        frequencies, and a table takes long: half the information of which symbols occur, unless they lie in some order,
        and a byte for 1032 symbols, since deflate codes at most 258 bytes in two bits (RFC 1951).

        The coder starts at the end of the stream with the state 0. While the words there fall or stay equal, seen from
        the front, its state grows slowly and they may cost nothing. From the first increase on, each word that the
        coder takes costs its information.
        """
        counts = statistics.counts
        if counts is None or np.count_nonzero(counts) < 2:
            return None
        tail = statistics.words[-_FREE:]
        rises = bool((tail[1:] > tail[:-1]).any())
        code = max(statistics.entropy_bytes - _FREE * _PRECISION / 8, 0.0) if rises else 0.0
        if len(counts) <= _SMALL_ALPHABET:
            return code
        return code + max(_bytes_of_choice(counts) / 2, len(counts) / _MOST_DEFLATED)

    def fitted_bound(self, statistics: Statistics) -> float:
        """The same bound plus the bytes of the table."""
        bound = self.lower_bound(statistics)
        return (bound or 0.0) + len(_table(statistics)[0])

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        assert statistics.counts is not None
        counts, words = statistics.counts, statistics.words
        present = np.flatnonzero(counts)
        table, weights = _table(statistics)
        if len(counts) <= _SMALL_ALPHABET:
            symbols, slots = words.astype(np.int32), np.zeros(len(counts), np.int64)
            slots[present] = weights
        else:
            numbers, slots = np.zeros(len(counts), np.int32), weights
            numbers[present] = np.arange(len(present))
            symbols = numbers[words]
        return table + ans_stack.push([(symbols, slots)])

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(_TABLES, 12 * count + _TABLES)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        weights, body = read_table(data)
        numbered = _numbered(weights)
        if np.count_nonzero(weights) < 2 or len(weights) > 1 << (8 * width):
            raise FormatError(
                f"an ANS stream has {np.count_nonzero(weights)} symbols below {len(weights)}, expected at least two of "
                f"{8 * width} bits"
            )
        coder = ans_stack.opened(body)
        model, result = ans_stack.model(weights[numbered]), np.empty(count, dtype_of(width))
        for start in range(0, count, _CHUNK):
            target = result[start : start + _CHUNK]
            symbols = coder.decode(model, len(target))
            target[:] = symbols if len(numbered) == len(weights) else numbered[symbols]
        ans_stack.check_end(coder)
        return result


def _table(statistics: Statistics) -> tuple[bytes, NDArray[np.int64]]:
    """The table of a stream and its weights, computed once for the bound and the code."""
    if statistics not in _tables:
        assert statistics.counts is not None
        _tables[statistics] = best_table(statistics.counts, np.flatnonzero(statistics.counts))
    return _tables[statistics]


def _bytes_of_choice(counts: NDArray[np.int64]) -> float:
    """The information of which symbols of the alphabet occur, all choices of so many being equally likely."""
    symbols, present = len(counts), int(np.count_nonzero(counts))
    nats = math.lgamma(symbols + 1) - math.lgamma(present + 1) - math.lgamma(symbols - present + 1)
    return nats / math.log(256)


_tables: WeakKeyDictionary[Statistics, tuple[bytes, NDArray[np.int64]]] = WeakKeyDictionary()


def _numbered(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The symbols that get slots: all symbols of a small alphabet, those that occur of a large one."""
    return np.arange(len(weights)) if len(weights) <= _SMALL_ALPHABET else np.flatnonzero(weights)
