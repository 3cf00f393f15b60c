"""Replaces files atomically, on local disks and on every filesystem that fsspec supports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import fsspec

from lightning_compress.errors import ForeignFileError
from lightning_compress.files.paths import is_remote, local_path
from lightning_compress.files.temporary import flush_to_disk, replacement


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
    with replacement(target) as (temporary, file):
        file.writelines(parts)
        flush_to_disk(file)
        check(str(temporary))
        check_replaceable(path, target.exists(), is_ours)  # it may have been created while the new file was written


def check_replaceable(path: str, exists: bool, is_ours: Callable[[str], bool]) -> None:
    """Refuse to replace a file of another program, a folder, a FIFO, a device or a socket.

    Raises:
        ForeignFileError: ``path`` exists, and is no regular file or ``is_ours`` is false for it.
    """
    if exists and not (_may_be_file(path) and is_ours(path)):
        raise ForeignFileError(
            f"{path} exists and is not a file of this package, so it is not replaced: move it, or write elsewhere"
        )


def _may_be_file(path: str) -> bool:
    return is_remote(path) or local_path(path).is_file()


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
