"""Huffman coding by DEFLATE without matches (RFC 1951, ``Z_HUFFMAN_ONLY``)."""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np

from lightning_compress.coding.coder import Statistics, Words
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_LONGEST = 1 << 16


class Huffman:
    """A raw DEFLATE stream of one-byte words; each block has new code tables, so it adapts to slow changes."""

    id: ClassVar[str] = "huffman"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """One bit per word; None for wide words, and for long streams, where ANS with its larger table is smaller."""
        fits = statistics.words.itemsize == 1 and len(statistics.words) <= _LONGEST
        return len(statistics.words) / 8 if fits else None

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
        return compressor.compress(statistics.words.data) + compressor.flush()

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(count, 6 * count)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        decompressor = zlib.decompressobj(-15)
        try:
            words = decompressor.decompress(data, count + 1)
        except zlib.error as error:
            raise FormatError(f"a Huffman stream is damaged: {error}") from error
        if width != 1 or len(words) != count or not decompressor.eof or decompressor.unused_data:
            raise FormatError(f"a Huffman stream gives {len(words)} bytes, expected {count} words of {width}")
        return np.frombuffer(words, np.uint8)
