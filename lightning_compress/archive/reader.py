"""Reads a file: bytes → manifest and coded bytes. Every size is checked before anything is decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from os import PathLike, fspath

from torch import Tensor

from lightning_compress.archive import version1, version2
from lightning_compress.archive.encode import decode_asset, decode_tensor
from lightning_compress.archive.envelope import from_envelope
from lightning_compress.archive.limits import check_limits
from lightning_compress.archive.spec import MAX_HEADER_BYTES, METADATA_KEY, Entry, Manifest
from lightning_compress.archive.writer import header_bytes
from lightning_compress.errors import ForeignFileError, FormatError, TruncatedError
from lightning_compress.files import read_prefix

Coded = Mapping[str, memoryview]
_START = f'{{"__metadata__":{{"{METADATA_KEY}":'.encode()


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether a file begins like a file of this package; False if there is no file."""
    try:
        start = read_prefix(fspath(path), 8 + len(_START))
    except OSError:
        return False
    return start[8:] == _START


def parse(data: memoryview, source: str, max_bytes: int | None = None) -> tuple[Manifest, dict[str, memoryview]]:
    """Parse a whole file: its manifest, and key → coded bytes of each tensor and asset.

    Args:
        data: the bytes of the file.
        source: name of the file, for messages.
        max_bytes: as for :func:`~lightning_compress.archive.limits.check_limits`.

    Raises:
        TruncatedError, ForeignFileError, ChecksumError, VersionError, FormatError: see docs/format.md.
    """
    text, body = _split(data, source)
    envelope = _envelope(text, source)
    try:
        manifest = from_envelope(envelope)
    except FormatError as error:
        raise type(error)(f"{source}: {error}") from error
    _check_sizes(manifest, len(body), source)
    check_limits(manifest, len(data), source, max_bytes)
    old = manifest.format_version == 1
    if header_bytes(envelope, version1.records(manifest) if old else version2.records(manifest))[8:] != text:
        raise FormatError(f"{source}: the header does not agree with the manifest in it")
    coded, offset = {}, 0
    for key, nbytes in manifest.parts() if old else version2.order(manifest):
        coded[key] = body[offset : offset + nbytes]
        offset += nbytes
    return manifest, coded


def restore(
    manifest: Manifest, coded: Coded, on_tensor: Callable[[Entry], None] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of each entry, in order, decoded one at a time; ``on_tensor`` is called after each.

    Raises:
        FormatError, ChecksumError: a damaged stream.
    """
    for entry in manifest.entries:
        yield entry.name, decode_tensor(entry, coded[entry.key])
        if on_tensor is not None:
            on_tensor(entry)


def restore_assets(manifest: Manifest, coded: Coded) -> dict[str, bytes]:
    """The attached files.

    Raises:
        FormatError, ChecksumError: a damaged stream.
    """
    return {a.name: decode_asset(a, coded[a.key]) for a in manifest.assets}


def verify(manifest: Manifest, coded: Coded, on_tensor: Callable[[Entry], None] | None = None) -> None:
    """Decode everything once and compare it with its checksums; the tensors are discarded.

    Raises:
        FormatError, ChecksumError: a stream or value is damaged; the first one is reported.
    """
    for _ in restore(manifest, coded, on_tensor):
        pass
    restore_assets(manifest, coded)


def _split(data: memoryview, source: str) -> tuple[bytes, memoryview]:
    """Header and coded bytes."""
    start = bytes(data[8 : 8 + len(_START)])
    if start != _START:
        short = _START.startswith(start) and len(data) > 8
        kind: type[FormatError] = TruncatedError if short else ForeignFileError
        raise kind(
            f"{source} ({len(data)} bytes) does not begin like a file of this package: expected one that "
            "lightning-compress wrote. Other safetensors files are read with the safetensors library."
        )
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"{source}: the header claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    if 8 + length > len(data):
        raise TruncatedError(f"{source} has {len(data)} bytes, and its header alone claims {8 + length}")
    return bytes(data[8 : 8 + length]), data[8 + length :]


def _envelope(header: bytes, source: str) -> str:
    """The text of the first value of a header; the rest is compared with what a writer makes, and never parsed."""
    try:
        envelope, _ = json.JSONDecoder().raw_decode(header.decode(), len(_START))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source}: the header is not JSON that holds a manifest") from error
    if not isinstance(envelope, str):
        raise FormatError(f"{source}: the manifest is {type(envelope).__name__}, expected text")
    return envelope


def _check_sizes(manifest: Manifest, body_bytes: int, source: str) -> None:
    coded = sum(nbytes for _, nbytes in manifest.parts())
    if coded > body_bytes:
        raise TruncatedError(f"{source} has {body_bytes} bytes of streams, and its manifest describes {coded}")
    if coded < body_bytes:
        raise FormatError(f"{source}: {body_bytes - coded} bytes follow the last stream")
