"""Asymmetric numeral systems: a static model of the stream, coded to within a few bytes of its entropy.

J. Duda 2013, "Asymmetric numeral systems"; the coder is constriction's (R. Bamler 2022, "Understanding entropy
coding with asymmetric numeral systems"). docs/format.md gives its arithmetic, so that a reader in another language
needs no library.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding import stack
from lightning_compress.coding.coder import (
    MAX_ALPHABET,
    Statistics,
    Words,
    dtype_of,
    read_varint,
    write_varint,
)
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_MANTISSA_BITS = (3, 8)  # of the two kinds of table: one byte a symbol, or two
_PRECISION = 24  # bits of a probability, the most that a symbol can cost
_FREE = 4
_SMALL_ALPHABET = 1 << 12
_CHUNK = 1 << 20
_TABLES = 64 * MAX_ALPHABET + 4 * _CHUNK  # bytes of table and model, and of one chunk of symbols
_PLAIN, _DEFLATED, _DELTA_DEFLATED = range(3)


class Ans:
    """A frequency table, then the 32-bit words of a range ANS coder: 64-bit state, 24-bit probabilities."""

    id: ClassVar[str] = "ans"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The entropy, less the cost of a few symbols; None for streams of one symbol or of too many symbols.

        The coder starts at the end of the stream with the state 0. While the words there fall or stay equal, seen from
        the front, its state grows slowly and they may cost nothing. From the first increase on, each word that the
        coder takes costs its information.
        """
        counts = statistics.counts
        if counts is None or np.count_nonzero(counts) < 2:
            return None
        tail = statistics.words[-_FREE:]
        rises = bool((tail[1:] > tail[:-1]).any())
        return max(statistics.entropy_bytes - _FREE * _PRECISION / 8, 0.0) if rises else 0.0

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        assert statistics.counts is not None
        counts, words = statistics.counts, statistics.words
        present = np.flatnonzero(counts)
        table, weights = _best_table(counts, present)
        if len(counts) <= _SMALL_ALPHABET:
            symbols, slots = words.astype(np.int32), np.zeros(len(counts), np.int64)
            slots[present] = weights
        else:
            numbers, slots = np.zeros(len(counts), np.int32), weights
            numbers[present] = np.arange(len(present))
            symbols = numbers[words]
        return table + stack.push([(symbols, slots)])

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(_TABLES, 12 * count + _TABLES)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        weights, body = _read_table(data)
        numbered = _numbered(weights)
        if np.count_nonzero(weights) < 2 or len(weights) > 1 << (8 * width):
            raise FormatError(
                f"an ANS stream has {np.count_nonzero(weights)} symbols below {len(weights)}, expected at least two of "
                f"{8 * width} bits"
            )
        coder = stack.opened(body)
        model, result = stack.model(weights[numbered]), np.empty(count, dtype_of(width))
        for start in range(0, count, _CHUNK):
            target = result[start : start + _CHUNK]
            symbols = coder.decode(model, len(target))
            target[:] = symbols if len(numbered) == len(weights) else numbered[symbols]
        stack.check_end(coder)
        return result


def _numbered(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The symbols that get slots: all symbols of a small alphabet, those that occur of a large one."""
    return np.arange(len(weights)) if len(weights) <= _SMALL_ALPHABET else np.flatnonzero(weights)


def _codes(counts: NDArray[np.int64], mantissa_bits: int) -> NDArray[np.int64]:
    """Positive counts as small floats: 1 + exponent · 2^m + mantissa of m bits, rounded to nearest."""
    fraction, exponent = np.frexp(counts.astype(np.float64))  # fraction in [0.5, 1)
    scaled = np.rint(fraction * (2 << mantissa_bits)).astype(np.int64)  # in [2^m, 2^(m+1)]
    codes: NDArray[np.int64] = 1 + ((exponent.astype(np.int64) - 1) << mantissa_bits) + scaled - (1 << mantissa_bits)
    return codes


def _weights(codes: NDArray[np.int64], mantissa_bits: int) -> NDArray[np.int64]:
    """The integer weight of each code: 0 for 0, else (2^m + mantissa) · 2^exponent."""
    exponent, mantissa = np.divmod(np.maximum(codes - 1, 0), 1 << mantissa_bits)
    return np.where(codes > 0, ((1 << mantissa_bits) + mantissa) << exponent, 0)


def _best_table(counts: NDArray[np.int64], present: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """The table for which unpacked table and code together are smallest: its packed bytes, and its weights.

    Most symbols of a large alphabet do not occur, so weights are computed only for those ``present``.
    """
    best: tuple[float, int, NDArray[np.int64], NDArray[np.int64]] | None = None
    occurring = counts[present]
    for kind, mantissa_bits in enumerate(_MANTISSA_BITS):
        codes = _codes(occurring, mantissa_bits)
        weights = _weights(codes, mantissa_bits)
        code_bytes = float((occurring * np.log2(weights.sum() / weights)).sum()) / 8
        total = code_bytes + (len(counts) << kind)
        if best is None or total < best[0]:
            best = (total, kind, codes, weights)
    assert best is not None
    _, kind, codes, weights = best
    table = np.zeros(len(counts), np.int64)
    table[present] = codes
    return _write_table(kind, table), weights


def _write_table(kind: int, codes: NDArray[np.int64]) -> bytes:
    """Kind and packing, number of symbols, number of table bytes (not for plain tables), table."""
    values = codes.astype("<u1" if kind == 0 else "<u2")
    delta = np.diff(values, prepend=np.zeros(1, values.dtype))
    packings = [values.tobytes(), _deflate(values.tobytes()), _deflate(_planes(delta))]
    packing = min(range(3), key=lambda k: len(packings[k]))
    body = packings[packing]
    length = b"" if packing == _PLAIN else write_varint(len(body))
    return bytes([kind | packing << 1]) + write_varint(len(codes)) + length + body


def _read_table(data: memoryview) -> tuple[NDArray[np.int64], memoryview]:
    """The weights, and the bytes after the table."""
    if not len(data) or data[0] >> 1 > _DELTA_DEFLATED:
        raise FormatError("an ANS stream begins with no table that this version knows")
    kind, packing = data[0] & 1, data[0] >> 1
    symbols, rest = read_varint(data[1:])
    length, rest = (symbols << kind, rest) if packing == _PLAIN else read_varint(rest)
    if symbols > MAX_ALPHABET or length > len(rest):
        raise FormatError(f"an ANS table has {symbols} symbols in {length} bytes, more than there can be")
    body, rest = rest[:length], rest[length:]
    size = symbols << kind
    plain = bytes(body) if packing == _PLAIN else _inflate(body, size)
    if len(plain) != size:
        raise FormatError(f"an ANS table has {len(plain)} bytes, expected {size}")
    values = np.frombuffer(_unplanes(plain) if packing == _DELTA_DEFLATED and kind else plain, f"<u{1 << kind}")
    if packing == _DELTA_DEFLATED:
        values = np.cumsum(values, dtype=values.dtype)
    codes = values.astype(np.int64)
    mantissa_bits = _MANTISSA_BITS[kind]
    if len(codes) and int(codes.max()) > 32 << mantissa_bits:
        raise FormatError(f"an ANS table has the code {int(codes.max())}, larger than any count")
    return _weights(codes, mantissa_bits), rest


def _planes(values: Words) -> bytes:
    """All low bytes, then all high bytes."""
    return bytes(values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes())


def _unplanes(data: bytes) -> bytes:
    return bytes(np.frombuffer(data, np.uint8).reshape(2, -1).T.tobytes())


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def _inflate(data: memoryview, size: int) -> bytes:
    decompressor = zlib.decompressobj(-15)
    try:
        plain = decompressor.decompress(data, size + 1)
    except zlib.error as error:
        raise FormatError(f"an ANS table is damaged: {error}") from error
    if not decompressor.eof or decompressor.unused_data:
        raise FormatError("an ANS table has bytes that do not belong to it")
    return plain
