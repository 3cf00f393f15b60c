"""The lowest bits of words, one byte plane after the other, and the rest of them in groups of eight: compiled loops.

:mod:`lightning_compress.coding.packed` has the same for machines without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import int64, uint8, uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

PIECE = 1 << 14  # words, a multiple of eight
Words = NDArray[np.unsignedinteger[Any]]


@compiled_exactly
def pack_words(words: Words, bits: int, data: NDArray[np.uint8]) -> None:
    """Write the lowest bits of words.

    Args:
        words: ``[n]``.
        bits: how many of each, at most those of a word.
        data: ``[packed_size(n, bits)]``, the result.
    """
    for start in range(0, len(words), PIECE):
        pack_piece(words[start : start + PIECE], start, len(words), bits, data)


@compiled_exactly
def pack_piece(words: Words, start: int, count: int, bits: int, data: NDArray[np.uint8]) -> None:
    """Write the lowest bits of some words.

    Args:
        words: ``[m]``.
        start: place of the first of them among all words, a multiple of eight.
        count: of all words.
        bits: see :func:`pack_words`, like ``data``.
        data: see ``bits``.
    """
    planes, rest = bits // 8, uint64(bits % 8)
    for plane in range(planes):
        shift, target = uint64(8 * plane), data[plane * count + start : plane * count + start + len(words)]
        for place in range(len(words)):
            target[place] = uint8(uint64(words[place]) >> shift)
    if rest:
        shift, kept = uint64(8 * planes), uint64((1 << rest) - 1)
        target = data[planes * count + start // 8 * int64(rest) :]
        for group in range((len(words) + 7) // 8):
            joined = uint64(0)
            for member in range(min(8, len(words) - 8 * group)):
                joined |= ((uint64(words[8 * group + member]) >> shift) & kept) << (uint64(member) * rest)
            for byte in range(rest):
                target[group * rest + byte] = uint8(joined >> (uint64(8) * byte))


@compiled_exactly
def unpack_words(data: NDArray[np.uint8], bits: int, words: Words) -> None:
    """The inverse of :func:`pack_words`, as many words at a time as fit in the cache; their other bits become 0."""
    count, planes, rest = len(words), bits // 8, bits % 8
    for start in range(0, count, PIECE):
        part = words[start : start + PIECE]
        lowest = data[start : start + len(part)]
        for place in range(len(part)):
            part[place] = lowest[place] if planes else uint8(0)
        for plane in range(1, planes):
            shift, source = uint64(8 * plane), data[plane * count + start : plane * count + start + len(part)]
            for place in range(len(part)):
                part[place] |= uint64(source[place]) << shift
        if rest:
            _unpack_rest(data[planes * count + start // 8 * rest :], uint64(rest), uint64(8 * planes), part)


@compiled_exactly
def _unpack_rest(data: NDArray[np.uint8], rest: int, shift: int, words: Words) -> None:
    """Add the bits from ``shift`` on, ``rest`` of each word."""
    count, kept = len(words), uint64((1 << rest) - 1)
    for group in range((count + 7) // 8):
        joined = uint64(0)
        for byte in range(rest):
            joined |= uint64(data[group * rest + byte]) << (uint64(8) * byte)
        for member in range(min(8, count - 8 * group)):
            words[8 * group + member] |= ((joined >> (uint64(member) * rest)) & kept) << shift
