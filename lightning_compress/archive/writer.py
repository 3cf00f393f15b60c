"""Writes a file: manifest and coded bytes → bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_compress.archive.manifest import version2
from lightning_compress.archive.manifest.envelope import records_of, to_envelope
from lightning_compress.archive.manifest.spec import FORMAT_VERSION, METADATA_KEY, Manifest, Part


def header_bytes(envelope: str, records: Sequence[Part]) -> bytes:
    """Length and header of a file: everything before the coded bytes (docs/format.md).

    Args:
        envelope: the text that holds the manifest.
        records: each tensor, in the order of the file.
    """
    header: dict[str, Any] = {"__metadata__": {METADATA_KEY: envelope}}
    offset = 0
    for key, nbytes, shape, dtype in records:
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def file_bytes(manifest: Manifest) -> int:
    """Size of the file that :func:`file_parts` makes."""
    newest = replace(manifest, format_version=FORMAT_VERSION)
    records = records_of(newest)
    return len(header_bytes(to_envelope(newest), records)) + sum(record.nbytes for record in records)


def file_parts(manifest: Manifest, coded: Mapping[str, bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The bytes of a file of the newest version, in parts; ``coded`` is :attr:`Archive.streams`."""
    newest = replace(manifest, format_version=FORMAT_VERSION)
    yield header_bytes(to_envelope(newest), records_of(newest))
    for key, _ in version2.order(manifest):
        yield coded[key]
