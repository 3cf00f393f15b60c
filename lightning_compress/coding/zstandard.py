"""Zstandard (RFC 8878): the coder for streams with repetition."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import zstandard

from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.errors import FormatError

_FAST, _STRONG = 3, 19
_SMALL = 1 << 14


class Zstandard:
    """One Zstandard frame with its content size, of the little-endian words."""

    id: ClassVar[str] = "zstd"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """None is known: repetition may take it below any entropy."""
        return 0.0

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`; the strong level is tried only where the fast one found repetition, or the stream is small."""
        data = memoryview(statistics.words).cast("B")
        fast = _compress(data, _FAST)
        if len(data) > _SMALL and len(fast) >= 0.98 * statistics.entropy_bytes:
            return fast
        return min(fast, _compress(data, _STRONG), key=len)

    def decode(self, data: memoryview, count: int, width: int) -> Words:
        """See :class:`Coder`."""
        try:
            size = zstandard.frame_content_size(data)
            if size != count * width:
                raise FormatError(f"a Zstandard stream announces {size} bytes, expected {count} words of {width}")
            words = zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FormatError(f"a Zstandard stream is damaged: {error}") from error
        return np.frombuffer(words, dtype_of(width))


def _compress(data: memoryview, level: int) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True).compress(data)
