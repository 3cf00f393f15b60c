"""Wide words in two parts: high bits that are coded as symbols, and low bits that are nearly uniform and stored.

The words of floating-point numbers are rotated left by one bit first, so that the high bits are the exponent and the
first bits of the mantissa. Within an eighth of an octave the density of weights hardly changes: the low bits then take
less than a thousandth more than their entropy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightning_compress.coding.coder import Words
from lightning_compress.coding.lanes.types import Symbols
from lightning_compress.coding.packed import pack, packed_size
from lightning_compress.runtime.compiler import has_compiler, has_compiler_for, read_only

SYMBOL_BITS = 12
_FEWEST_BITS = 6
_SAMPLE = 1 << 15


@dataclass(frozen=True)
class Split:
    """How words are divided.

    Attributes:
        rotated: whether they are rotated left by one bit first.
        low: how many low bits are stored apart.
    """

    rotated: bool = False
    low: int = 0

    @classmethod
    def of(cls, words: Words) -> Split:
        """The division with the fewest estimated bytes, by a sample of the words."""
        sample = np.ascontiguousarray(words[:: max(1, len(words) // _SAMPLE)])
        candidates = [
            (bits, rotated, low)
            for rotated, turned, width in (
                (False, sample, int(words.max()).bit_length()),
                (True, rotate_left(sample), 8 * words.itemsize),
            )
            for low, bits in _estimated_bits(turned, width, len(words))
        ]
        _, rotated, low = min(candidates)
        return cls(rotated, low)

    def divided(self, words: Words) -> tuple[Symbols, bytes | memoryview]:
        """``[n]`` symbols of two bytes, and the low bits of all words, packed."""
        if has_compiler_for(len(words)):
            from lightning_compress.coding.lanes.low_bits_loops import split_words
            from lightning_compress.coding.packed_loops import PIECE

            symbols, turned = np.empty(len(words), np.uint16), np.empty(PIECE, words.dtype)
            data = np.empty(packed_size(len(words), self.low), np.uint8)
            split_words(read_only(words), 8 * words.itemsize, self.rotated, self.low, symbols, turned, data)
            return symbols, data.data
        turned = rotate_left(words) if self.rotated else words
        return (turned >> np.array(self.low, words.dtype)).astype(np.uint16), pack(turned, self.low)

    def joined(self, symbols: Symbols, low: Words) -> Words:
        """The inverse of :meth:`divided`; ``low``, the low bits of each word, is overwritten."""
        if has_compiler_for(len(low)):
            from lightning_compress.coding.lanes.low_bits_loops import join_words

            join_words(symbols, 8 * low.itemsize, self.rotated, self.low, low)
            return low
        low |= symbols.astype(low.dtype) << np.array(self.low, low.dtype)
        return rotate_right(low) if self.rotated else low


def rotate_left(words: Words) -> Words:
    """The highest bit of each word becomes its lowest."""
    one, rest = np.array(1, words.dtype), np.array(8 * words.itemsize - 1, words.dtype)
    return (words << one) | (words >> rest)


def rotate_right(words: Words) -> Words:
    """The inverse of :func:`rotate_left`."""
    one, rest = np.array(1, words.dtype), np.array(8 * words.itemsize - 1, words.dtype)
    return (words >> one) | (words << rest)


def _estimated_bits(words: Words, width: int, count: int) -> Iterator[tuple[int, float]]:
    """For each number of low bits that may pay, how many bits a word takes.

    These are the entropy of its symbol, a byte of the table for each symbol, and the low bits.

    Args:
        words: ``[n]``, a sample.
        width: bits of the largest word.
        count: of all words.
    """
    least = max(width - SYMBOL_BITS, 0)
    lows = range(least, max(width - _FEWEST_BITS, 1))
    counts = np.bincount((words >> np.array(least, words.dtype)).astype(np.int64), minlength=1 << (width - least))
    if has_compiler():
        from lightning_compress.coding.lanes.low_bits_loops import bits_of_divisions

        bits = np.empty(len(lows))
        bits_of_divisions(counts, least, count, bits)
        yield from zip(lows, bits.tolist(), strict=True)
        return
    for low in lows:
        present = counts[counts > 0]
        entropy = float((present * np.log2(len(words) / present)).sum()) / len(words)
        yield low, entropy + low + 8 * len(present) / count
        counts = counts.reshape(-1, 2).sum(axis=1)
