"""Zstandard frames: those of another library are read and written byte for byte, damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from each_case import naming

from lightning_compress.runtime import FrameError, compressed, decompressed


def contents() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    return {
        "nothing": b"",
        "one byte": b"x",
        "one step": random.integers(0, 9, 1 << 17, dtype=np.uint8).tobytes(),
        "text": b'{"name": "layer.3.weight"}' * 9000,
        "noise": random.bytes(300_001),
        "zeros": bytes(3_000_000),
    }


@pytest.mark.parametrize("level", [1, 3, 19])
def test_frames_are_those_of_another_library(level: int) -> None:
    same_library = zstandard.ZSTD_VERSION == (1, 5, 7)
    for name, content in contents().items():
        with naming(name):
            frame = compressed(memoryview(content), level)
            assert zstandard.ZstdDecompressor().decompress(frame) == content
            foreign = zstandard.ZstdCompressor(level=level).compress(content)
            assert decompressed(foreign, len(content), len(content)) == content
            assert frame == foreign or not same_library


def test_what_is_no_frame_of_the_size_is_refused() -> None:
    content = np.random.default_rng(1).integers(0, 9, 400_000, dtype=np.uint8).tobytes()
    frame = compressed(content, 1)
    unknown = zstandard.ZstdCompressor(write_content_size=False).compress(content)
    cases = {
        "nothing": (b"", "header"),
        "no frame": (b"no frame at all", "header"),
        "cut off": (frame[:-5], "ends too early"),
        "bytes behind it": (frame + b"x", "more bytes may follow"),
        "two frames": (2 * frame, "more bytes may follow"),
        "a smaller one": (compressed(content[1:], 1), "announces 399999 bytes, expected 400000 bytes"),
        "no size": (unknown, "announces no size"),
    }
    for name, (data, message) in cases.items():
        with naming(name), pytest.raises(FrameError, match=message):
            decompressed(data, len(content), len(content))
    with pytest.raises(FrameError, match="expected at most 10 bytes"):
        decompressed(frame, 10)
