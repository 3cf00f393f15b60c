"""Records what a process does to the files of a folder: creations, renames, links, deletions and syncs, in order.

Creations, renames, links and deletions are heard by an audit hook, and syncs by replacing ``os.fsync``.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = int | str | None  # of a folder: the number of a file, what a link leads to, or nothing


@dataclass(frozen=True)
class Naming:
    """A change of the entries of one folder, which happens completely or not at all.

    Attributes:
        entries: path → what it is from now on.
    """

    entries: Mapping[Path, Entry]


@dataclass(frozen=True)
class FileSync:
    """What was written to a file until now survives.

    Attributes:
        file: its number.
        content: of the file.
    """

    file: int
    content: bytes


@dataclass(frozen=True)
class FolderSync:
    """What was done to the entries of a folder until now survives."""

    folder: Path


Operation = Naming | FileSync | FolderSync


@dataclass
class Recording:
    """The operations on files below a folder, and the entries that they lead to.

    Attributes:
        folder: that is recorded.
        selects: path → whether operations on it are recorded.
        operations: in order.
        entries: path → what it is after the last operation.
    """

    folder: Path
    selects: Callable[[Path], bool]
    operations: list[Operation] = field(default_factory=list)
    entries: dict[Path, Entry] = field(default_factory=dict)
    files: int = 0

    def handle(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record an audit event."""
        if event == "open" and isinstance(arguments[0], (str, bytes)) and (arguments[2] or 0) & os.O_CREAT:
            self._name({self._path(arguments[0]): self._new_file})
        elif event == "os.rename":
            source, target = map(self._path, arguments[:2])
            self._name({source: lambda: None, target: lambda: self.entries.get(source)})
        elif event == "os.remove":
            self._name({self._path(arguments[0]): lambda: None})
        elif event == "os.symlink":
            leads_to = os.fsdecode(arguments[0])
            self._name({self._path(arguments[1]): lambda: leads_to})

    def synced(self, descriptor: int) -> None:
        """Record a sync of a file or folder."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self.operations.append(FolderSync(path))
        elif isinstance(number := self.entries.get(path), int):
            self.operations.append(FileSync(number, path.read_bytes()))

    def _name(self, made: Mapping[Path, Callable[[], Entry]]) -> None:
        if all(self.folder in path.parents and self.selects(path) for path in made):
            entries = {path: make() for path, make in made.items()}
            self.entries |= entries
            self.operations.append(Naming(entries))

    def _new_file(self) -> int:
        self.files += 1
        return self.files

    @staticmethod
    def _path(path: Any) -> Path:
        return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 (links stay as they are)


_active: list[Recording] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for recording in _active:
        recording.handle(event, arguments)


@contextmanager
def recorded(folder: Path, selects: Callable[[Path], bool] = lambda _: True) -> Iterator[Recording]:
    """Record the operations on files below a folder in the block."""
    if not vars(_hook):
        sys.addaudithook(_hook)  # which cannot be removed
        vars(_hook)["installed"] = True
    recording, fsync = Recording(folder.resolve(), selects), os.fsync

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        recording.synced(descriptor)

    os.fsync = synced
    _active.append(recording)
    try:
        yield recording
    finally:
        _active.remove(recording)
        os.fsync = fsync
