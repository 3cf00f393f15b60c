"""float32 words → words of 16 bits: compiled loops.

:mod:`~lightning_compress.quantize.plain.half_words` has the same in torch, for other types and without a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import int64, uint16, uint32
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

_MAGNITUDE, _EXPONENT = uint32(0x7FFF_FFFF), uint32(0x7F80_0000)
_HALF_MAGNITUDE = uint16(0x7FFF)


@compiled_exactly
def truncate(words: NDArray[np.uint32], halves: NDArray[np.uint16]) -> None:
    """The high 16 bits of each word, ``[n]`` → ``[n]``: float32 → bfloat16."""
    for place in range(len(words)):
        halves[place] = uint16(words[place] >> uint32(16))


@compiled_exactly
def find_lost(
    words: NDArray[np.uint32], halves: NDArray[np.uint16], exponent: int, positions: NDArray[np.int64]
) -> int:
    """Which values are not finite, or become 0 or not finite in the format of 16 bits.

    Args:
        words: ``[n]``, of float32 values.
        halves: ``[n]``, of the values of 16 bits.
        exponent: the bits of the exponent in these.
        positions: the result; with none, the values are only counted.

    Returns:
        How many there are.
    """
    found = int64(0)
    if not len(positions):
        for place in range(len(words)):
            found += int64(_is_lost(words[place], halves[place], uint16(exponent)))
        return int(found)
    for place in range(len(words)):
        if _is_lost(words[place], halves[place], uint16(exponent)):
            positions[found] = place
            found += 1
    return int(found)


@compiled_exactly
def _is_lost(word: int, half: int, exponent: int) -> bool:
    """Whether a value becomes 0, or it or its half is not finite."""
    vanishes = (half & _HALF_MAGNITUDE == uint16(0)) & (word & _MAGNITUDE != uint32(0))
    overflows = (half & exponent == exponent) | (word & _EXPONENT == _EXPONENT)
    return bool(vanishes | overflows)
