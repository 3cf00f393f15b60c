"""The interface of a coder, which encodes unsigned words to bytes and decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.counting import occurrences
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work
from lightning_compress.runtime.cached import cached_property

Words = NDArray[np.unsignedinteger[Any]]
MAX_ALPHABET = (1 << 16) + 2


@dataclass(frozen=True, eq=False)
class Statistics:
    """A stream and the statistics that coders use to estimate their size before they encode.

    Attributes:
        words: ``[n]`` little-endian unsigned words of 1, 2, 4 or 8 bytes, n ≥ 1.
        groups: lengths of consecutive groups of words, each with its own distribution; empty: the stream is one group.
    """

    words: Words
    groups: tuple[int, ...] = ()

    @cached_property
    def largest(self) -> int:
        """The largest word."""
        return int(self.words.max())

    @cached_property
    def counts(self) -> NDArray[np.int64] | None:
        """``[largest + 1]``: how often each word occurs; None where the alphabet is too large to count."""
        return None if self.largest >= MAX_ALPHABET else occurrences(self.words, self.largest + 1)

    @cached_property
    def entropy_bytes(self) -> float:
        """Zero-order entropy of the whole stream, in bytes; 0 where the alphabet is too large to count (no bound)."""
        if self.counts is None:
            return 0.0
        present = self.counts[self.counts > 0]
        total = len(self.words)
        return float((present * np.log2(total / present)).sum()) / 8


def byte_plane(words: Words, plane: int) -> Words:
    """``[n]``: one byte of each word, the low byte first."""
    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, words.itemsize)[:, plane])


def plane_statistics(words: Words) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """``[planes]``: how many bytes of each plane differ, and its zero-order entropy in bytes; the low byte first."""
    width, count = words.itemsize, len(words)
    of_plane = words.view(np.uint8).reshape(count, width) + 256 * np.arange(width)
    counts = np.bincount(of_plane.reshape(-1), minlength=256 * width).reshape(width, 256)
    entropies = (counts * np.log2(count / np.maximum(counts, 1))).sum(axis=1) / 8
    return np.count_nonzero(counts, axis=1), entropies


def entropy_of_planes(words: Words) -> float:
    """Sum of the entropies of the byte planes, in bytes."""
    return float(plane_statistics(words)[1].sum())


class Coder(Protocol):
    """A lossless code for a stream of unsigned words.

    Attributes:
        id: the name in files; it is never reused for another code.
    """

    id: ClassVar[str]

    def lower_bound(self, statistics: Statistics) -> float | None:
        """A lower bound of the coded bytes; None if the coder does not apply to the stream."""
        ...

    def encode(self, statistics: Statistics) -> bytes:
        """The coded stream."""
        ...

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """What decoding so many words takes, whatever the code is."""
        ...

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """``[count]`` words of ``width`` bytes; ``groups`` must be those that the stream was coded with.

        Raises:
            FormatError: the bytes are not a stream of this coder, count and width.
        """
        ...


class FittedCoder(Coder, Protocol):
    """A coder that fits a model to the stream, which takes longer than most codes."""

    def fitted_bound(self, statistics: Statistics) -> float:
        """A lower bound from the fit, which ``encode`` uses again; for streams whose ``lower_bound`` is not None."""
        ...


def write_varint(value: int) -> bytes:
    """LEB128: seven bits a byte, low first, the high bit set on all but the last."""
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def read_varint(data: memoryview) -> tuple[int, memoryview]:
    """A LEB128 number of at most nine bytes, and the bytes after it.

    Raises:
        FormatError: the bytes end inside the number, or it does not end.
    """
    value = 0
    for position, byte in enumerate(data[:9]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, data[position + 1 :]
    raise FormatError("a number in a coded stream does not end")


def dtype_of(width: int) -> np.dtype[Any]:
    """Little-endian unsigned words of 1, 2, 4 or 8 bytes."""
    return np.dtype(f"<u{width}")
