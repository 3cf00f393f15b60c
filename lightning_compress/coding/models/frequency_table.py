"""Tables of frequencies: what each symbol of a stream counts, as small floats, packed.

docs/format.md (``ans``, steps 1 to 4) specifies the bytes.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.coder import MAX_ALPHABET, Words, read_varint, write_varint
from lightning_compress.errors import FormatError

_MANTISSA_BITS = (3, 8)  # of the two kinds of table: one byte a symbol, or two
_PLAIN, _DEFLATED, _DELTA_DEFLATED = range(3)


def best_table(counts: NDArray[np.int64], present: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
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


def read_table(data: memoryview) -> tuple[NDArray[np.int64], memoryview]:
    """The weights, and the bytes after the table.

    Raises:
        FormatError: the bytes are no table.
    """
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
