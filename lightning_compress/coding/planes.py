"""Byte planes: wide words are split into bytes, and each plane is coded with its best coder.

The exponents of floating-point numbers are far from uniform, their low mantissa bits are almost uniform; in separate
planes each gets its own code. Rotating the sign bit to the low end first puts the whole exponent of a float into the
high plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from lightning_compress.coding.coder import (
    Coder,
    Statistics,
    Words,
    byte_plane,
    dtype_of,
    entropy_of_planes,
    plane_statistics,
    read_varint,
    write_varint,
)
from lightning_compress.coding.lanes.low_bits import rotate_left, rotate_right
from lightning_compress.coding.zstandard import may_repeat
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_SAMPLE = 1 << 16
LONG = 1 << 16  # words that are many more than a model has to learn
_PIECES, _PIECE = 8, 1 << 11  # words
# Bytes of a plane, of its model, and of each symbol but one; and what a code takes more than the entropy: measured.
_HEAD, _MODEL, _LEARNED, _EXCESS = 2, 4, 0.15, 1.005
_SMALL_ALPHABET = 1 << 12
_UNIFORM = 1 << 8
_NOISE, _DEVIATIONS = 0.002, 2.0
_CODERS = 1 << 23  # what the coder of a plane takes at most, beside its words


class Planes:
    """One byte (1: rotated left by one bit), then for each plane, low byte first: coder number, length, code.

    Args:
        coders: number in files → coder of a plane.
        choose: the function that codes one plane; it returns the number of the coder and the code.
    """

    id: ClassVar[str] = "planes"

    def __init__(self, coders: dict[int, Coder], choose: Callable[[Words], tuple[int, bytes]]) -> None:
        self._coders = coders
        self._choose = choose

    def lower_bound(self, statistics: Statistics) -> float | None:
        """0 if the words may repeat themselves, else the entropies of their planes, less a thousandth.

        None for few symbols, coded better whole. Of a long stream pieces are looked at, so that the bound of one whose
        pieces differ from the rest is an estimate. That of a short stream is one, too: it counts what the models of its
        planes have to learn.
        """
        words = statistics.words
        if words.itemsize == 1 or statistics.largest < _SMALL_ALPHABET:
            return None
        seen = _pieces(words)
        if any(may_repeat(Statistics(byte_plane(seen, plane))) for plane in (0, words.itemsize - 1)):
            return 0.0  # words that repeat themselves do so in every plane
        if len(words) < LONG:
            return min(map(_expected_bytes, (words, rotate_left(words))))
        return 0.999 * len(words) / len(seen) * min(map(entropy_of_planes, (seen, rotate_left(seen))))

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        words = statistics.words
        sample = np.ascontiguousarray(words[:: max(1, len(words) // _SAMPLE)])
        rotate = entropy_of_planes(rotate_left(sample)) < entropy_of_planes(sample)
        parts = [bytes([rotate])]
        turned = rotate_left(words) if rotate else words
        for plane in range(words.itemsize):
            number, code = self._choose(byte_plane(turned, plane))
            parts += [bytes([number]), write_varint(len(code)), code]
        return b"".join(parts)

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work((2 * width + 2) * count + _CODERS, 20 * width * count + _CODERS)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        if not len(data) or data[0] > 1:
            raise FormatError("a stream of byte planes begins with no rotation that this version knows")
        words = np.empty(0, dtype_of(width))
        for plane, (coder, code) in enumerate(self._split(data[1:], width)):
            decoded = coder.decode(code, count, 1)
            if plane == 0:  # allocated only now: the first plane has shown that the stream holds this many words
                words = np.empty(count, dtype_of(width))
            words.view(np.uint8).reshape(count, width)[:, plane] = decoded
        return rotate_right(words) if data[0] else words

    def _split(self, data: memoryview, width: int) -> list[tuple[Coder, memoryview]]:
        """Coder and code of each plane."""
        parts = []
        for plane in range(width):
            if not len(data) or data[0] not in self._coders:
                raise FormatError(f"byte plane {plane} has no coder that this version knows")
            coder = self._coders[data[0]]
            length, data = read_varint(data[1:])
            if length > len(data):
                raise FormatError(f"byte plane {plane} has {length} bytes, and {len(data)} are left")
            parts.append((coder, data[:length]))
            data = data[length:]
        if len(data):
            raise FormatError(f"{len(data)} bytes follow the last byte plane")
        return parts


def is_noise(statistics: Statistics) -> bool:
    """Whether the bytes of a plane are so uniform that a model would cost more than it saves.

    Of equally likely bytes, a pair is equal once in 256 times; in n bytes the share of equal pairs deviates from that
    by a factor of 1 ± 22.6 / n. A plane is no noise where more pairs are equal, or where bytes repeat in sequence.
    """
    counts, count = statistics.counts, len(statistics.words)
    if counts is None or len(counts) <= _UNIFORM // 2 or count < 2:
        return False
    excess = _UNIFORM * float((counts * (counts - 1)).sum()) / (count * (count - 1)) - 1
    return excess < _NOISE + _DEVIATIONS * math.sqrt(2 * _UNIFORM) / count and not may_repeat(statistics)


def _expected_bytes(words: Words) -> float:
    """What the planes of a short stream take, about."""
    symbols, entropies = plane_statistics(words)
    models = np.where(symbols > 1, _MODEL + _LEARNED * (symbols - 1), 1)
    return float((_HEAD + np.minimum(len(words), _EXCESS * entropies + models)).sum()) + 1


def _pieces(words: Words) -> Words:
    """The middles of equal parts of a long stream, or all of a shorter one."""
    if len(words) <= _PIECES * _PIECE:
        return words
    part = len(words) // _PIECES
    starts = range((part - _PIECE) // 2, len(words) - _PIECE + 1, part)
    return np.concatenate([words[start : start + _PIECE] for start in starts])
