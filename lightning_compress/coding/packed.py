"""Bit packing: every word takes as many bits as the largest word needs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work
from lightning_compress.runtime.compiler import has_compiler_for, read_only

_GROUP = 8
_CHUNK = 1 << 16


class Packed:
    """One byte for the bit width b, the low bytes of all words, then the remaining b mod 8 bits of each word.

    The remaining bits of eight words take b mod 8 bytes; the first word is in the lowest bits.
    """

    id: ClassVar[str] = "packed"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The exact packed size."""
        return 1 + packed_size(len(statistics.words), statistics.largest.bit_length())

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        bits = statistics.largest.bit_length()
        return bytes([bits]) + pack(statistics.words, bits)

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work((2 * width + 1) * count, (3 * width + 2) * count)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        bits = data[0] if len(data) else 0
        if not len(data) or bits > 8 * width or len(data) != 1 + packed_size(count, bits):
            raise FormatError(
                f"a packed stream has {len(data)} bytes at {bits} bits a word, expected {count} words of at most "
                f"{8 * width} bits"
            )
        return unpack(data[1:], bits, count, width)


def pack(words: Words, bits: int) -> bytes:
    """The lowest ``bits`` bits of words: :func:`packed_size` bytes."""
    if has_compiler_for(len(words)):
        from lightning_compress.coding.packed_loops import pack_words

        data = np.empty(packed_size(len(words), bits), np.uint8)
        pack_words(read_only(words), bits, data)
        return data.tobytes()
    planes, rest = divmod(bits, 8)
    parts = [
        np.ascontiguousarray(words.view(np.uint8).reshape(-1, words.itemsize)[:, k]).tobytes() for k in range(planes)
    ]
    if rest:
        top = words.view(np.uint8).reshape(-1, words.itemsize)[:, planes]
        parts.append(_pack(top & np.uint8((1 << rest) - 1), rest))
    return b"".join(parts)


def unpack(data: memoryview, bits: int, count: int, width: int) -> Words:
    """``[count]`` words of ``width`` bytes that :func:`pack` made these bytes of."""
    if has_compiler_for(count):
        from lightning_compress.coding.packed_loops import unpack_words

        unpacked = np.empty(count, dtype_of(width))
        unpack_words(read_only(np.frombuffer(data, np.uint8)), bits, unpacked)
        return unpacked
    planes, rest = divmod(bits, 8)
    words = np.zeros(count, dtype_of(width))
    by_byte = words.view(np.uint8).reshape(count, width)
    for k in range(planes):
        by_byte[:, k] = np.frombuffer(data[k * count : (k + 1) * count], np.uint8)
    if rest:
        by_byte[:, planes] = _unpack(np.frombuffer(data[planes * count :], np.uint8), rest, count)
    return words


def packed_size(count: int, bits: int) -> int:
    """Bytes of so many words of so many bits."""
    planes, rest = divmod(bits, 8)
    return count * planes + -(-count // _GROUP) * rest


def _pack(values: NDArray[np.uint8], bits: int) -> bytes:
    """Values below 2^bits, bits from 1 to 7: each group of eight becomes ``bits`` bytes."""
    shifts = np.arange(0, _GROUP * bits, bits, dtype=np.uint64)
    parts = []
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        groups = np.zeros((-(-len(chunk) // _GROUP), _GROUP), np.uint64)
        groups.reshape(-1)[: len(chunk)] = chunk
        joined = np.bitwise_or.reduce(groups << shifts, axis=1).astype("<u8")
        parts.append(joined.view(np.uint8).reshape(-1, 8)[:, :bits].tobytes())
    return b"".join(parts)


def _unpack(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    shifts = np.arange(0, _GROUP * bits, bits, dtype=np.uint64)
    result = np.empty(len(data) // bits * _GROUP, np.uint8)
    step = _CHUNK // _GROUP
    rows = data.reshape(-1, bits)
    for start in range(0, len(rows), step):
        chunk = np.zeros((len(rows[start : start + step]), 8), np.uint8)
        chunk[:, :bits] = rows[start : start + step]
        values = (chunk.view("<u8") >> shifts) & np.uint64((1 << bits) - 1)
        result[start * _GROUP : (start + len(chunk)) * _GROUP] = values.reshape(-1)
    return result[:count]
