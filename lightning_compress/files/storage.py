"""Reads files and replaces them atomically, on local disks and on every filesystem that fsspec supports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import fsspec
import numpy as np

from lightning_compress.errors import ForeignFileError

PARTIAL = ".partial"


def is_remote(path: str) -> bool:
    """Whether a path is a URL that needs fsspec."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """The local path of a path or ``file://`` URL."""
    return Path(path.removeprefix("file://"))


def read_bytes(path: str) -> memoryview:
    """The content of a file: memory-mapped if it is local, else downloaded.

    Raises:
        OSError: the file cannot be read.
    """
    if is_remote(path):
        with fsspec.open(path, "rb") as file:
            return memoryview(file.read())
    local = local_path(path)
    if not local.stat().st_size:
        return memoryview(b"")
    return np.memmap(local, np.uint8, "r").data


def read_prefix(path: str, nbytes: int) -> bytes:
    """The first ``nbytes`` of a file, or all of a shorter file.

    Raises:
        OSError: the file cannot be read.
    """
    if is_remote(path):
        with fsspec.open(path, "rb") as file:
            return bytes(file.read(nbytes))
    with local_path(path).open("rb") as file:
        return file.read(nbytes)


def replace_file(
    path: str,
    parts: Iterable[bytes | memoryview],
    check: Callable[[str], None],
    is_ours: Callable[[str], bool],
) -> None:
    """Write a file atomically: at no time does its path hold incomplete or unchecked content.

    A local file is written under a temporary name in the same folder, flushed, synced, checked and renamed; then the
    folder is synced. A remote file is written under its own name, checked, and deleted if the check fails.

    Args:
        path: local path or URL.
        parts: the content.
        check: reads the file at a path, and raises if its content is wrong.
        is_ours: path → whether the existing file there may be replaced.

    Raises:
        ForeignFileError: a file exists that may not be replaced.
        OSError: the file cannot be written; no partial file remains.
    """
    if is_remote(path):
        _replace_remote(path, parts, check, is_ours)
        return
    target = local_path(path)
    check_replaceable(path, target.exists(), is_ours)
    with atomic_path(target) as partial:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        check(str(partial))
    _sync_folder(target.parent)


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target``, which replaces it when the block ends, and is deleted if the block fails."""
    partial = target.with_name(f".{target.name}{PARTIAL}")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _replace_remote(
    path: str,
    parts: Iterable[bytes | memoryview],
    check: Callable[[str], None],
    is_ours: Callable[[str], bool],
) -> None:
    system, name = fsspec.core.url_to_fs(path)
    check_replaceable(path, system.exists(name), is_ours)
    opened = system.open(name, "wb")  # if this fails, the old file remains
    try:
        with opened as file:
            for part in parts:
                file.write(part)
        check(path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.rm_file(name)
        raise


def check_replaceable(path: str, exists: bool, is_ours: Callable[[str], bool]) -> None:
    """Refuse to replace a file of another program.

    Raises:
        ForeignFileError: ``path`` exists, and ``is_ours`` is false for it.
    """
    if exists and not is_ours(path):
        raise ForeignFileError(
            f"{path} exists and is not a file of this package, so it is not replaced: move it, or write elsewhere"
        )


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power failure, if the system can (Windows cannot open folders)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
