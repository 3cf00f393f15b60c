"""Files that others refer to: they stay, under another name, until the last of these is deleted."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lightning_compress.resumable.opened_file import ResumableFile, aside_name


def set_aside(path: Path) -> None:
    """Before a file is replaced or deleted: rename it if others in its folder refer to it."""
    file = None if path.is_symlink() else ResumableFile.find(path)
    if file is None:
        return
    if any(_refers(other, file.identity) for other in _files(path.parent) if other.path != path):
        path.rename(path.with_name(aside_name(file.identity)))


def remove_file(path: Path) -> None:
    """Delete a file, and those that were set aside and that nothing refers to any more."""
    set_aside(path)
    path.unlink(missing_ok=True)
    remove_unused(path.parent)


def remove_unused(folder: Path) -> None:
    """Delete the files that were set aside and that nothing refers to any more."""
    files = _files(folder)
    while unused := [
        each
        for each in files
        if each.path.name == aside_name(each.identity)
        and not any(_refers(other, each.identity) for other in files if other is not each)
    ]:
        for each in unused:
            each.path.unlink(missing_ok=True)
        files = [each for each in files if each not in unused]


def _files(folder: Path) -> list[ResumableFile]:
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink())
    found = []
    for path in paths:
        with suppress(FileNotFoundError):  # another process, or another thread, may delete or rename its files
            found.append(ResumableFile.find(path))
    return [file for file in found if file is not None]


def _refers(file: ResumableFile, identity: str) -> bool:
    return file.parent is not None and file.parent.identity == identity
