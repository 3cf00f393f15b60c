"""Zstandard (RFC 8878): the coder for streams with repetition."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import zstandard

from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_FAST, _STRONG = 1, 19
_SMALL = 1 << 14
_LONG = 1 << 20
_WINDOW = 1 << 20  # of the decoder, beside its result
_SAMPLES, _SAMPLE = 8, 1 << 14


class Zstandard:
    """One Zstandard frame, with its content size, of the little-endian words."""

    id: ClassVar[str] = "zstd"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """0, because repetition can be coded below the entropy; None for long streams whose samples show none."""
        return 0.0 if len(statistics.words) < _LONG or may_repeat(statistics) else None

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`; the strong level is tried where the fast one found repetition or the stream is small."""
        data = statistics.words.data.cast("B")
        fast = _compress(data, _FAST)
        if len(data) > _SMALL and len(fast) >= 0.98 * statistics.entropy_bytes:
            return fast
        return min(fast, _compress(data, _STRONG), key=len)

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(_WINDOW, count * width)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        try:
            size = zstandard.frame_content_size(data)
            if size != count * width:
                raise FormatError(f"a Zstandard stream announces {size} bytes, expected {count} words of {width}")
            words = zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FormatError(f"a Zstandard stream is damaged: {error}") from error
        return np.frombuffer(words, dtype_of(width))


def may_repeat(statistics: Statistics) -> bool:
    """Whether samples from the whole stream are coded below its entropy; those of large alphabets are assumed to be."""
    words = statistics.words
    if statistics.counts is None:
        return True
    sample = words
    if len(words) > _SAMPLES * _SAMPLE:
        starts = range(0, len(words) - _SAMPLE, (len(words) - _SAMPLE) // (_SAMPLES - 1))
        sample = np.concatenate([words[start : start + _SAMPLE] for start in starts])
    entropy = statistics.entropy_bytes * len(sample) / len(words)
    return len(_compress(sample.data.cast("B"), _FAST)) < 0.98 * entropy


def _compress(data: memoryview, level: int) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True).compress(data)
