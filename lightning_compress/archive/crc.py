"""CRC-32 of bytes, and of a concatenation from the CRC-32 of its parts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

try:
    from isal.isal_zlib import crc32
except ImportError:  # there is no wheel for this machine; the same checksums, at a seventh of the speed
    from zlib import crc32

__all__ = ["checksum", "crc32", "joined"]
_POLYNOMIAL = 0xEDB88320  # of CRC-32, lowest power in the highest bit
_ONE, _BYTE = 1 << 31, 1 << 23  # x⁰ and x⁸


def checksum(data: Any) -> str:  # Any: before Python 3.12 there is no type of all buffers
    """CRC-32 of a buffer, eight hexadecimal digits."""
    return f"{crc32(data):08x}"


def joined(parts: Iterable[tuple[str, int]]) -> str:
    """The CRC-32 of a concatenation, from the CRC-32 and the length in bytes of each part.

    Appending n bytes multiplies the checksum so far by x^(8n), modulo the polynomial of CRC-32.
    """
    total = 0
    for crc32, nbytes in parts:
        total = (_times(total, _power(nbytes)) if total else 0) ^ int(crc32, 16)
    return f"{total:08x}"


def _power(nbytes: int) -> int:
    """x^(8 · nbytes), by squaring."""
    result = _ONE
    for bit in range(nbytes.bit_length()):
        if nbytes >> bit & 1:
            result = _times(result, _square(bit))
    return result


@cache
def _square(bit: int) -> int:
    """x^(8 · 2^bit); lengths have at most 48 bits."""
    return _BYTE if not bit else _times(_square(bit - 1), _square(bit - 1))


def _times(one: int, other: int) -> int:
    """The product of two polynomials over GF(2), modulo the polynomial of CRC-32."""
    result = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            result ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return result
