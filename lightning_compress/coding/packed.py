"""Bit packing: every word takes as many bits as the largest word needs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_GROUP = 8
_CHUNK = 1 << 16


class Packed:
    """One byte for the bit width b, the low bytes of all words, then the remaining b mod 8 bits of each word.

    The remaining bits of eight words take b mod 8 bytes; the first word is in the lowest bits.
    """

    id: ClassVar[str] = "packed"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The exact packed size."""
        return 1 + _packed_size(len(statistics.words), statistics.largest.bit_length())

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        bits, words = statistics.largest.bit_length(), statistics.words
        planes, rest = divmod(bits, 8)
        parts = [bytes([bits])]
        parts += [
            ((words >> np.array(8 * k, words.dtype)) & np.array(255, words.dtype)).astype(np.uint8).tobytes()
            for k in range(planes)
        ]
        if rest:
            parts.append(_pack((words >> np.array(8 * planes, words.dtype)).astype(np.uint8), rest))
        return b"".join(parts)

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work((2 * width + 1) * count, (3 * width + 2) * count)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        bits = data[0] if len(data) else 0
        if not len(data) or bits > 8 * width or len(data) != 1 + _packed_size(count, bits):
            raise FormatError(
                f"a packed stream has {len(data)} bytes at {bits} bits a word, expected {count} words of at most "
                f"{8 * width} bits"
            )
        planes, rest = divmod(bits, 8)
        dtype = dtype_of(width)
        words = np.zeros(count, dtype)
        body = data[1:]
        for k in range(planes):
            plane = np.frombuffer(body[k * count : (k + 1) * count], np.uint8).astype(dtype)
            words |= plane << np.array(8 * k, dtype)
        if rest:
            top = _unpack(np.frombuffer(body[planes * count :], np.uint8), rest, count).astype(dtype)
            words |= top << np.array(8 * planes, dtype)
        return words


def _packed_size(count: int, bits: int) -> int:
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
