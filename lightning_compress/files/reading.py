"""Reads files, on local disks and on every filesystem that fsspec supports."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

import fsspec

from lightning_compress.files.paths import is_remote, local_path

_PIECE_BYTES = 1 << 26
_POSITION = threading.Lock()  # of files that can only be read where they stand
_TYPES = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


def open_file(path: str) -> BinaryIO:
    """A file, open for reading: a regular local file, or the downloaded content of a remote one.

    Local files are read, not memory-mapped: if a mapped file is cut short by another process, the next access to it
    ends this process with SIGBUS, which no code can handle. Content that was read stays as it was. This costs memory of
    the size of what is read, and about a millisecond per megabyte.

    Raises:
        OSError: the file cannot be read, or is a directory, FIFO, device or socket.
    """
    if is_remote(path):
        with fsspec.open(path, "rb") as file:
            return io.BytesIO(file.read())
    local = local_path(path)
    _check_regular(local)
    return local.open("rb")


def open_ranges(path: str) -> BinaryIO:
    """As :func:`open_file`, but of a remote file only what is asked for is transferred, if its filesystem can do so."""
    if not is_remote(path):
        return open_file(path)
    try:
        system, name = fsspec.core.url_to_fs(path)
        file: BinaryIO = system.open(name, "rb", cache_type="none")
        file.seek(1)
        file.read(1)  # which shows whether the server sends ranges
        return file
    except (ValueError, TypeError, NotImplementedError, io.UnsupportedOperation):  # a server without ranges
        return open_file(path)


def read_bytes(path: str) -> memoryview:
    """The content of a file.

    Raises:
        OSError: as for :func:`open_file`.
    """
    with open_file(path) as file:
        return memoryview(file.read())


def read_into(file: BinaryIO, start: int, target: memoryview) -> bool:
    """Fill a buffer of bytes with those of a file from a position on; False if the file ends before.

    Several threads may read one file.
    """
    while len(target):
        count = _read_piece(file, start, target[:_PIECE_BYTES])
        if not count:
            return False
        start, target = start + count, target[count:]
    return True


def _read_piece(file: BinaryIO, start: int, target: memoryview) -> int:
    if isinstance(file, (io.BufferedReader, io.BufferedRandom)) and hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [target], start)
    with _POSITION:
        file.seek(start)
        piece = file.read(len(target))
    target[: len(piece)] = piece
    return len(piece)


def read_prefix(path: str, nbytes: int) -> bytes:
    """The first ``nbytes`` of a file, or all of a shorter file.

    Raises:
        OSError: as for :func:`open_file`.
    """
    if is_remote(path):
        with fsspec.open(path, "rb") as file:
            return bytes(file.read(nbytes))
    with open_file(path) as file:
        return file.read(nbytes)


def _check_regular(path: Path) -> None:
    """Refuse what is no regular file, before it is opened: opening a FIFO waits for a writer.

    Raises:
        OSError: there is no file, or it is of another type.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"expected a regular file, and this is {_TYPES[stat.S_IFMT(mode)]}", str(path))
