"""Faults of file systems, imitated for the files of this package: some operation fails as the system would fail."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lightning_compress.files import is_temporary_name

Patch = Callable[[], Any]  # → a context manager, which takes the place of an operation


@dataclass(frozen=True)
class Fault:
    """What a file system does.

    Attributes:
        patches: of the operations that it changes.
        reason: what each failed export is reported with; empty: no export fails.
        epochs: of the training.
    """

    patches: tuple[Patch, ...]
    reason: str = ""
    epochs: int = 3

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the fault in the block."""
        with ExitStack() as stack:
            for each in self.patches:
                stack.enter_context(each())
            yield


def _is_ours(path: Any) -> bool:
    return isinstance(path, (str, Path)) and (is_temporary_name(Path(path).name) or Path(path).suffix == ".safetensors")


def _fails(owner: Any, name: str, code: int, applies: Callable[..., bool]) -> Patch:
    """An operation that raises an OSError where ``applies`` is true for its arguments."""
    original = getattr(owner, name)

    def operation(*arguments: Any, **settings: Any) -> Any:
        if applies(*arguments):
            raise OSError(code, os.strerror(code), str(arguments[0]))
        return original(*arguments, **settings)

    return lambda: patch.object(owner, name, operation)


def _is_creation(path: Any, flags: int, *_: Any) -> bool:
    return bool(flags & os.O_CREAT) and _is_ours(path)


def _first_is_ours(path: Any, *_: Any) -> bool:
    return _is_ours(path)


def _is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


class _SmallFile:
    """A file on a disk that has space for some bytes more."""

    def __init__(self, file: Any, free: int, code: int) -> None:
        self._file, self._free, self._code = file, free, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _SmallFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def writelines(self, parts: Any) -> None:
        """Write as much as there is space for."""
        for part in parts:
            view = memoryview(part).cast("B")
            self._file.write(view[: self._free])
            self._free -= len(view)
            if self._free < 0:
                self._file.flush()
                raise OSError(self._code, os.strerror(self._code))


def full_after(nbytes: int, code: int = errno.ENOSPC) -> Fault:
    """A disk or quota that is full after some bytes of each file."""
    fdopen = os.fdopen

    def opened(*arguments: Any, **settings: Any) -> Any:
        return _SmallFile(fdopen(*arguments, **settings), nbytes, code)

    return Fault((lambda: patch.object(os, "fdopen", opened),), os.strerror(code))


def _slow_sync() -> Any:
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        time.sleep(0.01)
        fsync(descriptor)

    return patch.object(os, "fsync", synced)


def _vanishing_folder() -> Any:
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        fsync(descriptor)
        shutil.rmtree(path.parent, ignore_errors=True)

    return patch.object(os, "fsync", synced)


NO_LOCKS = (_fails(fcntl, "flock", errno.ENOLCK, lambda *_: True),)
NO_LINKS = (_fails(Path, "symlink_to", errno.EPERM, _first_is_ours),)
VANISHING_FOLDER = Fault((_vanishing_folder,), os.strerror(errno.ENOENT), epochs=1)
FAULTS = {
    **{f"disk full after {nbytes} bytes": full_after(nbytes) for nbytes in (0, 1, 100, 500)},
    "quota used up": full_after(200, errno.EDQUOT),
    "disk full at the sync": Fault((_fails(os, "fsync", errno.ENOSPC, lambda _: True),), os.strerror(errno.ENOSPC)),
    "input/output error at the sync": Fault((_fails(os, "fsync", errno.EIO, lambda _: True),), os.strerror(errno.EIO)),
    "read-only folder": Fault((_fails(os, "open", errno.EROFS, _is_creation),), os.strerror(errno.EROFS)),
    "no permission": Fault((_fails(os, "open", errno.EACCES, _is_creation),), os.strerror(errno.EACCES)),
    "slow disk": Fault((_slow_sync,)),
    "rename across devices": Fault((_fails(Path, "replace", errno.EXDEV, _first_is_ours),), os.strerror(errno.EXDEV)),
    "stale handle at the rename": Fault(
        (_fails(Path, "replace", errno.ESTALE, _first_is_ours),), os.strerror(errno.ESTALE)
    ),
    "no symbolic links": Fault(NO_LINKS),
    "no locks": Fault(NO_LOCKS),
    "locks not supported": Fault((_fails(fcntl, "flock", errno.ENOTSUP, lambda *_: True),)),
    "no sync of folders": Fault((_fails(os, "fsync", errno.EINVAL, _is_folder),)),
    "network file system": Fault(
        (*NO_LOCKS, *NO_LINKS, _fails(os, "fsync", errno.EINVAL, _is_folder)),
    ),
}
