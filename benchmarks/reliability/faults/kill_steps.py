"""Steps of a process on files, at each of which it can be killed: system calls on paths, syncs, and writes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

PATHS = {"open", "os.rename", "os.remove", "os.symlink", "os.link", "os.mkdir", "os.chmod", "os.truncate"}
LOCKS = {"fcntl.flock"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_at(step: int, folder: str) -> Callable[[], int]:
    """Let this process kill itself before its n-th step on files below a folder; 0: never.

    Steps are: opening a file for writing, renaming, linking, deleting and locking; and both sides of a sync and of
    a write to a file that ``os.fdopen`` has opened.

    Returns:
        Says how many steps were taken.
    """
    steps, taken = count(1), [0]

    def take() -> None:
        taken[0] = next(steps)
        if taken[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LOCKS or (event in PATHS and folder in f"{arguments}" and _changes(event, arguments)):
            take()

    _around_syncs(take)
    _within_writes(take)
    sys.addaudithook(hook)
    return lambda: taken[0]


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event != "open" or bool((arguments[2] or 0) & _WRITES)


def _around_syncs(take: Callable[[], None]) -> None:
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        take()
        fsync(descriptor)
        take()

    os.fsync = synced


def _within_writes(take: Callable[[], None]) -> None:
    """Write the first half of what is written, take a step, and write the rest."""
    fdopen = os.fdopen

    def opened(*arguments: Any, **settings: Any) -> Any:
        file = fdopen(*arguments, **settings)
        return _HalvingFile(file, take) if file.writable() and "b" in file.mode else file

    os.fdopen = opened  # type: ignore[assignment]


class _HalvingFile:
    """A file whose writes reach the disk in two parts."""

    def __init__(self, file: Any, take: Callable[[], None]) -> None:
        self._file, self._take = file, take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _HalvingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, part: Any) -> int:
        """Write a part in two halves."""
        view = memoryview(part).cast("B")
        for half in (view[: len(view) // 2], view[len(view) // 2 :]):
            self._file.write(half)
            self._file.flush()
            self._take()
        return len(view)

    def writelines(self, parts: Any) -> None:
        """Write each part in two halves."""
        for part in parts:
            self.write(part)
