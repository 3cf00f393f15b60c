"""The lowest bits of words, one byte plane after the other, and the rest of them in groups of eight: compiled loops.

:mod:`lightning_compress.coding.packed` has the same for machines without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uint8, uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

_PIECE = 1 << 14  # words, a multiple of eight
Words = NDArray[np.unsignedinteger[Any]]


@compiled_exactly
def pack_words(words: Words, bits: int, data: NDArray[np.uint8]) -> None:
    """Write the lowest bits of words.

    Args:
        words: ``[n]``.
        bits: how many of each, at most those of a word.
        data: ``[packed_size(n, bits)]``, the result.
    """
    count, planes, rest = len(words), bits // 8, uint64(bits % 8)
    for plane in range(planes):
        shift, target = uint64(8 * plane), data[plane * count : (plane + 1) * count]
        for place in range(count):
            target[place] = uint8(uint64(words[place]) >> shift)
    if rest:
        shift, kept, target = uint64(8 * planes), uint64((1 << rest) - 1), data[planes * count :]
        for group in range((count + 7) // 8):
            joined = uint64(0)
            for member in range(min(8, count - 8 * group)):
                joined |= ((uint64(words[8 * group + member]) >> shift) & kept) << (uint64(member) * rest)
            for byte in range(rest):
                target[group * rest + byte] = uint8(joined >> (uint64(8) * byte))


@compiled_exactly
def unpack_words(data: NDArray[np.uint8], bits: int, words: Words) -> None:
    """The inverse of :func:`pack_words`, as many words at a time as fit in the cache; their other bits become 0."""
    count, planes, rest = len(words), bits // 8, bits % 8
    for start in range(0, count, _PIECE):
        part = words[start : start + _PIECE]
        for place in range(len(part)):
            part[place] = 0
        for plane in range(planes):
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
