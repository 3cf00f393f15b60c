"""Where files are: local folders and whatever else fsspec reaches."""

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
    """Whether a path is a URL that only fsspec opens."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """The local path of a path or ``file://`` URL."""
    return Path(path.removeprefix("file://"))


def read_bytes(path: str) -> memoryview:
    """The content of a file: mapped where it is local, fetched where it is not.

    Raises:
        OSError: it cannot be read.
    """
    if is_remote(path):
        with fsspec.open(path, "rb") as file:
            return memoryview(file.read())
    local = local_path(path)
    if not local.stat().st_size:
        return memoryview(b"")
    return np.memmap(local, np.uint8, "r").data


def read_start(path: str, nbytes: int) -> bytes:
    """The first bytes of a file, fewer where it is shorter.

    Raises:
        OSError: it cannot be read.
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
    """Write a file so that its name never stands for less than the whole, checked content.

    Local: written beside its place, flushed, synced, checked, renamed, and the folder synced. Remote: written whole
    under its name, checked, and deleted again where the check fails.

    Args:
        path: local path or URL.
        parts: the content.
        check: reads a written file and raises where it is not what was meant.
        is_ours: whether an existing file may be replaced.

    Raises:
        ForeignFileError: something else stands under that name.
        OSError: it cannot be written; nothing is left behind.
    """
    if is_remote(path):
        _replace_remote(path, parts, check, is_ours)
        return
    target = local_path(path)
    refuse_foreign(path, target.exists(), is_ours)
    with becoming(target) as partial:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        check(str(partial))
    _sync_folder(target.parent)


@contextlib.contextmanager
def becoming(target: Path) -> Iterator[Path]:
    """A free path beside ``target``, whose content takes its name when the block ends, and goes where it fails."""
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
    refuse_foreign(path, system.exists(name), is_ours)
    opened = system.open(name, "wb")  # a failure here leaves what stood there
    try:
        with opened as file:
            for part in parts:
                file.write(part)
        check(path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.rm_file(name)
        raise


def refuse_foreign(path: str, exists: bool, is_ours: Callable[[str], bool]) -> None:
    """Keep what another program wrote.

    Raises:
        ForeignFileError: something stands at ``path``, and it is not one of ours.
    """
    if exists and not is_ours(path):
        raise ForeignFileError(
            f"{path} exists and is not a file of this package, so it is not replaced: move it, or write elsewhere"
        )


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can (Windows cannot open folders)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
