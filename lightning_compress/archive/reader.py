"""Reads a file: bytes → manifest and coded bytes. Every size is checked before anything is decoded."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from os import SEEK_END, PathLike, fspath
from typing import BinaryIO, TypeVar

from torch import Tensor

from lightning_compress.archive.encode import decode_asset, decode_tensor
from lightning_compress.archive.limits import check_limits
from lightning_compress.archive.manifest import version2
from lightning_compress.archive.manifest.envelope import from_envelope, records_of
from lightning_compress.archive.manifest.spec import MAX_HEADER_BYTES, METADATA_KEY, Entry, Manifest
from lightning_compress.archive.writer import header_bytes
from lightning_compress.errors import ForeignFileError, FormatError, TruncatedError
from lightning_compress.files import read_prefix
from lightning_compress.garbage import collection_paused
from lightning_compress.runtime import in_order

Result = TypeVar("Result")
Coded = Mapping[str, bytes | memoryview]
_START = f'{{"__metadata__":{{"{METADATA_KEY}":'.encode()


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether a file begins like a file of this package; False if there is no file."""
    try:
        start = read_prefix(fspath(path), 8 + len(_START))
    except OSError:
        return False
    return start[8:] == _START


def parse(data: memoryview, source: str, max_bytes: int | None = None) -> tuple[Manifest, dict[str, memoryview]]:
    """Parse the bytes of a whole file; arguments and errors as for :func:`read_manifest`."""
    manifest, parts, start = read_manifest(io.BytesIO(data), source, max_bytes)
    coded = {}
    for key, nbytes in parts:
        coded[key] = data[start : start + nbytes]
        start += nbytes
    return manifest, coded


def read_manifest(
    file: BinaryIO, source: str, max_bytes: int | None = None
) -> tuple[Manifest, list[tuple[str, int]], int]:
    """Read and check everything before the coded bytes.

    Args:
        file: open at its beginning.
        source: name of the file, for messages.
        max_bytes: as for :func:`~lightning_compress.archive.limits.check_limits`.

    Returns:
        The manifest; key and size of the coded bytes of each tensor and asset, in the order of the file; and the
        position where they begin.

    Raises:
        TruncatedError, ForeignFileError, ChecksumError, VersionError, FormatError: see docs/format.md.
    """
    file_bytes = file.seek(0, SEEK_END)
    file.seek(0)
    text = _header(file, file_bytes, source)
    with collection_paused():
        envelope = _envelope(text, source)
        try:
            manifest = from_envelope(envelope)
        except FormatError as error:
            raise type(error)(f"{source}: {error}") from error
        _check_sizes(manifest, file_bytes - 8 - len(text), source)
        check_limits(manifest, file_bytes, source, max_bytes)
        if header_bytes(envelope, records_of(manifest))[8:] != text:
            raise FormatError(f"{source}: the header does not agree with the manifest in it")
    parts = manifest.parts() if manifest.format_version == 1 else version2.order(manifest)
    return manifest, list(parts), 8 + len(text)


def restore(
    manifest: Manifest, coded: Coded, on_tensor: Callable[[Entry], None] | None = None, workers: int = 1
) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of each entry, in order; ``on_tensor`` is called after each.

    Args:
        manifest: of the file.
        coded: key → coded bytes.
        on_tensor: called in the calling thread.
        workers: number of threads that decode.

    Raises:
        FormatError, ChecksumError: a damaged stream.
    """

    def decoded(entry: Entry) -> tuple[str, Tensor]:
        return entry.name, decode_tensor(entry, memoryview(coded[entry.key]))

    return _of_each(decoded, manifest, on_tensor, workers)


def restore_assets(manifest: Manifest, coded: Coded) -> dict[str, bytes]:
    """The attached files.

    Raises:
        FormatError, ChecksumError: a damaged stream.
    """
    return {a.name: decode_asset(a, memoryview(coded[a.key])) for a in manifest.assets}


def verify(
    manifest: Manifest, coded: Coded, on_tensor: Callable[[Entry], None] | None = None, workers: int = 1
) -> None:
    """Decode everything once and compare it with its checksums; the tensors are discarded. Arguments as above.

    Raises:
        FormatError, ChecksumError: a stream or value is damaged; the first one is reported.
    """

    def check(entry: Entry) -> None:
        decode_tensor(entry, memoryview(coded[entry.key]))

    for _ in _of_each(check, manifest, on_tensor, workers):
        pass
    restore_assets(manifest, coded)


def _of_each(
    function: Callable[[Entry], Result],
    manifest: Manifest,
    on_tensor: Callable[[Entry], None] | None,
    workers: int,
) -> Iterator[Result]:
    """``function`` of each entry, in order; ``on_tensor`` is called after each."""
    results = in_order(function, manifest.entries, workers, size=attrgetter("raw_bytes"))
    for entry, result in zip(manifest.entries, results, strict=True):
        yield result
        if on_tensor is not None:
            on_tensor(entry)


def _header(file: BinaryIO, file_bytes: int, source: str) -> bytes:
    """The header, without its length."""
    prefix = file.read(8 + len(_START))
    start = prefix[8:]
    if start != _START:
        short = _START.startswith(start) and file_bytes > 8
        kind: type[FormatError] = TruncatedError if short else ForeignFileError
        raise kind(
            f"{source} ({file_bytes} bytes) does not begin like a file of this package: expected one that "
            "lightning-compress wrote. Other safetensors files are read with the safetensors library."
        )
    length = int.from_bytes(prefix[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"{source}: the header claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    if 8 + length > file_bytes:
        raise TruncatedError(f"{source} has {file_bytes} bytes, and its header alone claims {8 + length}")
    file.seek(8)
    return _exactly(file, length, source)


def _exactly(file: BinaryIO, nbytes: int, source: str) -> bytes:
    data = file.read(nbytes)
    if len(data) < nbytes:
        raise TruncatedError(f"{source} was cut short while it was read: {len(data)} of {nbytes} bytes are left")
    return data


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
