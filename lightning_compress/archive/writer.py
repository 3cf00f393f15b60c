"""Manifest and streams → bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_compress.archive.envelope import to_envelope
from lightning_compress.archive.spec import METADATA_KEY, Manifest


def header_bytes(manifest: Manifest) -> bytes:
    """Length and header of the file of a manifest: everything before the streams (docs/format.md)."""
    header: dict[str, Any] = {"__metadata__": {METADATA_KEY: to_envelope(manifest)}}
    offset = 0
    for key, stream in manifest.stream_keys():
        header[key] = {
            "dtype": "U8",
            "shape": [stream.nbytes],
            "data_offsets": [offset, offset + stream.nbytes],
        }
        offset += stream.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def file_parts(manifest: Manifest, streams: Mapping[str, bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The bytes of a file, piece by piece; ``streams`` by their name in the file."""
    yield header_bytes(manifest)
    for key, _ in manifest.stream_keys():
        yield streams[key]
