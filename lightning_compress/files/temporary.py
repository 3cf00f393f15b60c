"""Temporary files: new content is written beside its target under a temporary name, then renamed.

The name is ``.NAME.RANDOM.partial``: the beginning of the target's name and 16 random hexadecimal digits. The file is
created exclusively (O_EXCL), so no link at that name is followed, and two writers of one path never share a file: each
writes its own, and the last rename wins.

Left-overs: a writer holds a lock (flock) on its temporary file. A temporary file that nobody locks was left by a
process that was killed, and is deleted by the next writer of the same target, when a training starts, and by
``reconcile``. A temporary link cannot be locked: it is deleted in the same way, and a writer that loses its link so
makes another one. Where files cannot be locked (Windows, some network filesystems) one is left over after one day.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

_SUFFIX = ".partial"
_VISIBLE_BYTES = 100  # of the target's name; with the rest it fits every filesystem's limit
_LEFT_OVER_SECONDS = 24 * 3600.0
_MOST_LINKS = 5  # that a writer makes for one path
# The second alternative is how earlier versions named the temporary file of a companion file.
_NAME = re.compile(r"\..+\.([0-9a-f]{16}|safetensors)\.partial", re.DOTALL)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@contextlib.contextmanager
def replacement(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside ``target``, which replaces it when the block ends, and is deleted if the block fails.

    The block writes the file and calls :func:`flush_to_disk`; the rename is made durable here. A link at ``target`` is
    replaced itself, its target stays. Permissions are those of any new file (0666 less the umask).

    Yields:
        The temporary path, and the file, open for writing.

    Raises:
        OSError: the folder cannot be written to.
    """
    remove_left_overs_of(target)
    path, descriptor = _create(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield path, file
            if sys.platform == "win32":
                file.close()  # an open file cannot be renamed there
            path.replace(target)  # while the lock is held
    except BaseException:
        _delete(path)
        raise
    _sync_folder(target.parent)


def flush_to_disk(file: BinaryIO) -> None:
    """Make the content of a file survive a power failure."""
    file.flush()
    os.fsync(file.fileno())


def replace_by_link(path: Path, leads_to: str) -> None:
    """Make ``path`` a symbolic link; a file or link that is there is replaced.

    Raises:
        OSError: the system does not allow links, or the folder cannot be written to.
    """
    for _ in range(_MOST_LINKS - 1):
        with contextlib.suppress(FileNotFoundError):  # another process took the temporary link for a left-over
            _replace_by_link(path, leads_to)
            return
    _replace_by_link(path, leads_to)


def is_temporary_name(name: str) -> bool:
    """Whether a file name is one that this package gives temporary files."""
    return _NAME.fullmatch(name) is not None


def remove_left_over(path: Path) -> bool:
    """Delete a temporary file if its writer is gone, and say whether it was deleted.

    Raises:
        OSError: it is left over and cannot be deleted.
    """
    if path.is_symlink():
        path.unlink(missing_ok=True)
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | _NO_FOLLOW | _NO_WAIT)
    except FileNotFoundError:
        return False
    except OSError:
        return _remove_if_old(path)
    try:
        locked = _try_lock(descriptor)
        if locked:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return _remove_if_old(path) if locked is None else locked


def _replace_by_link(path: Path, leads_to: str) -> None:
    temporary = path.with_name(_temporary_name(path.name))
    temporary.symlink_to(leads_to)
    try:
        temporary.replace(path)
    except BaseException:
        _delete(temporary)
        raise
    _sync_folder(path.parent)


def _temporary_name(name: str) -> str:
    return f".{_visible(name)}.{secrets.token_hex(8)}{_SUFFIX}"


def _visible(name: str) -> str:
    """The part of a target's name that its temporary names show."""
    while len(os.fsencode(name)) > _VISIBLE_BYTES:
        name = name[:-1]
    return name


def _create(target: Path) -> tuple[Path, int]:
    """A new temporary file, open for writing and locked where the filesystem can lock."""
    while True:
        path = target.with_name(_temporary_name(target.name))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, 0o666)
        if _try_lock(descriptor) is not False and _leads_to(path, descriptor):
            return path, descriptor
        os.close(descriptor)  # another process took it for a left-over before it was locked


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed: whether it is locked now; None if it cannot be locked by anyone."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_if_old(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.lstat().st_mtime > _LEFT_OVER_SECONDS:
            path.unlink()
            return True
    return False


def remove_left_overs_of(target: Path) -> None:
    """Delete what killed writers of the same target left. A failure is ignored: it affects no new file."""
    start, earlier = f".{_visible(target.name)}.", f".{target.name}{_SUFFIX}"
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            if (path.name.startswith(start) and is_temporary_name(path.name)) or path.name == earlier:
                with contextlib.suppress(OSError):
                    remove_left_over(path)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, if the system can (Windows cannot open folders)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
