"""Magnitudes of float32 weights, as the bits of their words without the sign: compiled loops.

The package has the same in torch, for machines without a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import int64, uint32, uint64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

_MAGNITUDE = uint32(0x7FFF_FFFF)
_BLOCK = 32


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
def find_between(
    words: NDArray[np.uint32], key: int, ties: int, least: int, most: int, found: NDArray[np.uint32]
) -> tuple[int, int, int]:
    """How many magnitudes are below a bracket, and those within it, where what belongs to a cut is 0.

    Args:
        words: ``[n]``.
        key: the threshold of the cut; 0 for none.
        ties: how many of the magnitudes equal to it become 0, at most.
        least: the smallest key of the bracket. What the cut takes counts as below, at 0 too.
        most: its largest key.
        found: ``[m]``, the result: the keys within, in order, and then values of no meaning.

    Returns:
        How many are below; how many within, −1 if there are more than the result holds; and how many ties are left.
    """
    end, left = _end_of_ties(words, key, ties) if ties else (0, 0)
    below, filled = _find_above(words[:end], key + 1, least, most, found, 0)
    more, filled = _find_above(words[end:], key, least, most, found, filled)
    return below + more, filled, left


@compiled_exactly
def _find_above(
    words: NDArray[np.uint32], key: int, least: int, most: int, found: NDArray[np.uint32], filled: int
) -> tuple[int, int]:
    """The same where magnitudes below a key are 0; ``filled`` is how many were found before, −1 for too many."""
    first, last, below = uint32(max(least, key)), uint32(most), int64(0)
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        lower, inside = uint32(0), uint32(0)
        for place in range(len(block)):  # most blocks have none, and to count is faster than to search
            magnitude = block[place] & _MAGNITUDE
            lower += uint32(magnitude < first)
            inside += uint32((magnitude >= first) & (magnitude <= last))
        below += int64(lower)
        if filled < 0 or filled + int64(inside) > len(found):
            return below, -1
        for place in range(len(block) if inside else 0):
            magnitude = block[place] & _MAGNITUDE
            if (magnitude >= first) & (magnitude <= last):
                found[filled] = magnitude
                filled += 1
    return below, filled


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
    border, equal = uint32(key), 0
    for place in range(len(words)):
        magnitude = words[place] & _MAGNITUDE
        chosen[place] = magnitude <= border
        equal += int64(magnitude == border)
    if equal <= ties:
        return ties - equal
    end, left = _end_of_ties(words, key, ties)
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
    border, equal = uint32(key), 0
    for place in range(len(words)):
        magnitude = words[place] & _MAGNITUDE
        result[place] = uint32(0) if magnitude <= border else words[place]
        equal += int64(magnitude == border)
    if equal <= ties:
        return ties - equal
    end, left = _end_of_ties(words, key, ties)
    for place in range(end, len(words)):
        result[place] = uint32(0) if words[place] & _MAGNITUDE < border else words[place]
    return left


@compiled_exactly
def count_equal(words: NDArray[np.uint32], key: int) -> int:
    """How many magnitudes are equal to a key."""
    border, equal = uint32(key), 0
    for place in range(len(words)):
        equal += int64(words[place] & _MAGNITUDE == border)
    return equal


@compiled_exactly
def _end_of_ties(words: NDArray[np.uint32], key: int, ties: int) -> tuple[int, int]:
    """The place after the last of the first magnitudes equal to a key, at most so many, and how many are left."""
    border, end, left = uint32(key), int64(0), int64(ties)
    for place in range(len(words) if count_equal(words, key) else 0):  # most chunks have none, and to count is fast
        if not left:
            break
        if words[place] & _MAGNITUDE == border:
            end = place + 1
            left -= 1
    return end, left
