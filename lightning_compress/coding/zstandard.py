"""Zstandard (RFC 8878): the coder for streams with repetition."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_compress.coding.coder import Statistics, Words, dtype_of, entropy_of_planes
from lightning_compress.errors import FormatError
from lightning_compress.runtime import LARGEST_WINDOW, FrameError, Work, compressed, decompressed

_FAST, _STRONG = 1, 19
_SMALL = 1 << 11
_STATE = 1 << 20  # bytes of the decoder, beside its window and its result
_SAMPLES, _SAMPLE = 4, 1 << 14
_LONG = _SAMPLES * _SAMPLE


class Zstandard:
    """One Zstandard frame, with its content size, of the little-endian words."""

    id: ClassVar[str] = "zstd"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """0, because repetition can be coded below the entropy; None for long streams whose samples show none."""
        return 0.0 if len(statistics.words) <= _LONG or may_repeat(statistics) else None

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`; the strong level is tried where the fast one found repetition or the stream is small."""
        data = statistics.words.data.cast("B")
        fast = compressed(data, _FAST)
        if len(data) > _SMALL and len(fast) >= 0.98 * statistics.entropy_bytes:
            return fast
        return min(fast, compressed(data, _STRONG), key=len)

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(_STATE + min(count * width, LARGEST_WINDOW), count * width)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        try:
            words = decompressed(data, count * width, count * width)
        except FrameError as error:
            raise FormatError(f"a Zstandard stream of {count} words of {width} bytes is damaged: {error}") from error
        return np.frombuffer(memoryview(words).toreadonly(), dtype_of(width))


def may_repeat(statistics: Statistics) -> bool:
    """Whether samples of a stream are coded below its entropy; that of byte planes, where the alphabet is large."""
    words = statistics.words
    sample = words
    if len(words) > _LONG:
        starts = range(0, len(words) - _SAMPLE, (len(words) - _SAMPLE) // (_SAMPLES - 1))
        sample = np.concatenate([words[start : start + _SAMPLE] for start in starts])
    if statistics.counts is None:
        entropy = entropy_of_planes(sample)
    else:
        entropy = statistics.entropy_bytes * len(sample) / len(words)
    return len(compressed(sample.data.cast("B"), _FAST)) < 0.98 * entropy
