"""Magnitudes of float32 weights, as the bits of their words without the sign: compiled loops.

The package has the same in torch, for machines without a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import int64, uint32, uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

_MAGNITUDE = uint32(0x7FFF_FFFF)


@compiled_exactly
def count_digits(words: NDArray[np.uint32], prefix: int, shift: int, bits: int, counts: NDArray[np.int64]) -> None:
    """Count the digits of ``bits`` bits from bit ``shift`` on, of words whose bits above these are ``prefix``.

    Args:
        words: ``[n]``.
        prefix: of the magnitude.
        shift: of the digit.
        bits: of the digit.
        counts: ``[2^bits]``: is increased.
    """
    low, high, head = uint64(shift), uint64(shift + bits), uint64(prefix)
    digit_bits = uint64((1 << bits) - 1)
    for place in range(len(words)):
        key = uint64(words[place] & _MAGNITUDE)
        if key >> high == head:
            counts[(key >> low) & digit_bits] += 1


@compiled_exactly
def mark_smallest(words: NDArray[np.uint32], key: int, ties: int, chosen: NDArray[np.bool_]) -> int:
    """Which magnitudes are below a key, and the first of those equal to it.

    Args:
        words: ``[n]``.
        key: the threshold.
        ties: how many of the magnitudes equal to it are marked, at most.
        chosen: ``[n]``, the result.

    Returns:
        How many ties are left.
    """
    border = uint32(key)
    end, left = _end_of_ties(words, border, ties)
    for place in range(end):
        chosen[place] = words[place] & _MAGNITUDE <= border
    for place in range(end, len(words)):
        chosen[place] = words[place] & _MAGNITUDE < border
    return left


@compiled_exactly
def zero_smallest(words: NDArray[np.uint32], key: int, ties: int, result: NDArray[np.uint32]) -> int:
    """The words, with 0 in the place of those whose magnitudes :func:`mark_smallest` marks.

    Args:
        words: ``[n]``.
        key: the threshold.
        ties: how many of the magnitudes equal to it become 0, at most.
        result: ``[n]``.

    Returns:
        How many ties are left.
    """
    border = uint32(key)
    end, left = _end_of_ties(words, border, ties)
    for place in range(end):
        result[place] = uint32(0) if words[place] & _MAGNITUDE <= border else words[place]
    for place in range(end, len(words)):
        result[place] = uint32(0) if words[place] & _MAGNITUDE < border else words[place]
    return left


@compiled_exactly
def _end_of_ties(words: NDArray[np.uint32], border: int, ties: int) -> tuple[int, int]:
    """The place after the last of the first magnitudes equal to a key, at most so many, and how many are left."""
    end, left, equal = int64(0), int64(ties), int64(0)
    for place in range(len(words)):  # most chunks have none, and to count is faster than to search
        equal += int64(words[place] & _MAGNITUDE == border)
    for place in range(len(words) if equal else 0):
        if not left:
            break
        if words[place] & _MAGNITUDE == border:
            end = place + 1
            left -= 1
    return end, left
