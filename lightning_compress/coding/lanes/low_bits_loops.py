"""Wide words in two parts, and back: compiled loops; see :mod:`lightning_compress.coding.lanes.low_bits`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import float64, int64, uint16, uint64
from numpy.typing import NDArray

from lightning_compress.coding.lanes.types import Symbols
from lightning_compress.coding.packed_loops import PIECE, pack_piece
from lightning_compress.runtime.compilation import compiled_exactly

Words = NDArray[np.unsignedinteger[Any]]


@compiled_exactly
def split_words(
    words: Words, bits: int, rotated: bool, low: int, symbols: Symbols, turned: Words, data: NDArray[np.uint8]
) -> None:
    """The symbol of each word, and its low bits packed; piece by piece, so that words stay in the cache.

    Args:
        words: ``[n]`` of ``bits`` bits.
        bits: 16, 32 or 64.
        rotated: whether they are rotated left by one bit first.
        low: how many bits are no part of the symbol.
        symbols: ``[n]``, a result.
        turned: ``[PIECE]``, for a piece of the words, rotated or not.
        data: ``[packed_size(n, low)]``, a result: see :func:`pack_words`.
    """
    top, shift, kept = uint64(bits - 1), uint64(low), uint64((1 << bits) - 1 if bits < 64 else -1)
    for start in range(0, len(words), PIECE):
        part, chosen = words[start : start + PIECE], symbols[start : start + PIECE]
        for place in range(len(part)):
            word = uint64(part[place])
            word = ((word << uint64(1)) | (word >> top)) & kept if rotated else word
            turned[place] = word
            chosen[place] = uint16(word >> shift)
        pack_piece(turned[: len(part)], start, len(words), low, data)


@compiled_exactly
def join_words(symbols: Symbols, bits: int, rotated: bool, low: int, words: Words) -> None:
    """The inverse of :func:`split_words`; ``words`` holds the low bits, and becomes the result."""
    top, shift = uint64(bits - 1), uint64(low)
    for place in range(len(words)):
        word = uint64(words[place]) | uint64(symbols[place]) << shift
        words[place] = (word >> uint64(1)) | ((word & uint64(1)) << top) if rotated else word


@compiled_exactly
def bits_of_divisions(counts: NDArray[np.int64], least: int, words: int, bits: NDArray[np.float64]) -> None:
    """How many bits a word takes that is divided in several ways: the entropy of its symbol, a byte of the table for
    each symbol, and its low bits.

    Args:
        counts: ``[symbols]``, an even number: how often each symbol occurs in a sample. They are overwritten.
        least: how many low bits the symbols of these counts leave.
        words: how many there are in all.
        bits: ``[m]``, the result: with ``least`` low bits, and with one more each time.
    """
    total, symbols = int64(0), len(counts)
    for symbol in range(symbols):
        total += counts[symbol]
    for place in range(len(bits)):
        present, entropy = int64(0), 0.0
        for symbol in range(symbols):
            if counts[symbol]:
                present += 1
                entropy += float64(counts[symbol]) * math.log2(float64(total) / float64(counts[symbol]))
        low = float64(least + place)
        bits[place] = entropy / float64(total) + low + 8.0 * float64(present) / float64(words)
        symbols //= 2
        for symbol in range(symbols):
            counts[symbol] = counts[2 * symbol] + counts[2 * symbol + 1]
