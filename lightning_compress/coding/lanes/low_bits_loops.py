"""Wide words in two parts, and back: compiled loops; see :mod:`lightning_compress.coding.lanes.low_bits`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uint16, uint64
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
