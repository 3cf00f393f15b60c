"""Zstandard frames (RFC 8878): Python's own module from 3.14 on, before that the same one as ``backports.zstd``.

Both hold the reference library and nothing else, a tenth of what other bindings install.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, compress, get_frame_info
else:
    from backports.zstd import ZstdDecompressor, ZstdError, compress, get_frame_info

LARGEST_WINDOW = 1 << 27  # bytes of earlier content that the library keeps at most
_HEADER = 18  # bytes of the longest frame header
_STEP = 1 << 17  # bytes that are given to the library, and taken from it, at once


class FrameError(Exception):
    """Bytes are not one complete frame of the expected size."""


def compressed(data: bytes | memoryview, level: int) -> bytes:
    """One frame with its content size and without a checksum; equal content gives equal bytes.

    Args:
        data: the content.
        level: 1 (fast) to 22 (small).
    """
    frame: bytes = compress(data, level)
    return frame


def decompressed(frame: bytes | memoryview, most: int, least: int = 0) -> bytearray:
    """The content of one frame.

    Memory beside the content is that of the window, at most the content or :data:`LARGEST_WINDOW`.

    Args:
        frame: one frame that announces the size of its content.
        most: bytes that the content may have.
        least: bytes that it must have.

    Raises:
        FrameError: it announces no size or another one, is damaged or incomplete, or bytes follow it.
    """
    view = memoryview(frame)
    try:
        size = get_frame_info(view[:_HEADER]).decompressed_size
        if size is None or not least <= size <= most:
            announced = "no size" if size is None else f"{size} bytes"
            expected = f"{most} bytes" if least == most else f"at most {most} bytes"
            raise FrameError(f"it announces {announced}, expected {expected}")
        content, end, taken = bytearray(size), 0, 0
        decompressor = ZstdDecompressor()
        while not decompressor.eof:
            given = view[taken : taken + _STEP] if decompressor.needs_input else view[:0]
            if decompressor.needs_input and not given:
                raise FrameError("it ends too early")
            taken += len(given)
            part = decompressor.decompress(given, _STEP)
            if end + len(part) > size:
                raise FrameError(f"it holds more than the {size} bytes that it announces")
            content[end : end + len(part)] = part
            end += len(part)
    except ZstdError as error:
        raise FrameError(str(error)) from error
    if end != size or taken < len(view) or decompressor.unused_data:
        raise FrameError(f"it holds {end} bytes, announces {size}, and {len(view) - taken} more bytes may follow it")
    return content
