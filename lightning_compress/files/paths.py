"""Paths of files and folders, local or remote."""

from __future__ import annotations

import time
from pathlib import Path

import fsspec


def is_remote(path: str) -> bool:
    """Whether a path is a URL that needs fsspec."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """The local path of a path or ``file://`` URL."""
    return Path(path.removeprefix("file://"))


def normalized_path(path: str) -> str:
    """The path with its folder resolved; a link keeps its own name. Equal for all spellings of a path."""
    if is_remote(path):
        return path.rstrip("/")
    return str(local_path(path).parent.resolve() / local_path(path).name)


def is_inside(path: str, folder: str) -> bool:
    """Whether a file is in a folder or below it."""
    if is_remote(path) or is_remote(folder):
        return path.startswith(f"{folder.rstrip('/')}/")
    return local_path(folder).resolve() in Path(normalized_path(path)).parents


def exists(path: str) -> bool:
    """Whether a file or folder exists; a broken link does not."""
    if not is_remote(path):
        return local_path(path).exists()
    system, inner = fsspec.core.url_to_fs(path)
    return bool(system.exists(inner))


def entry_of(folder: str, name: str) -> str:
    """The path of an entry of a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(local_path(folder) / name)


def file_size(path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    if not is_remote(path):
        local = local_path(path)
        return local.stat().st_size if local.is_file() else None
    system, inner = fsspec.core.url_to_fs(path)
    return int(system.size(inner)) if system.isfile(inner) else None


def make_parent_folder(path: str) -> None:
    """Create the local folder of a file; an asynchronous save of the checkpoint may not have created it yet."""
    if not is_remote(path):
        local_path(path).parent.mkdir(parents=True, exist_ok=True)


def list_folder(folder: str) -> list[str]:
    """Sorted paths of the entries of a folder; links by their own name.

    Raises:
        OSError: the folder does not exist.
    """
    if not is_remote(folder):
        return sorted(str(path) for path in local_path(folder).iterdir())
    system, inner = fsspec.core.url_to_fs(folder)
    names = (path.rstrip("/").rpartition("/")[2] for path in system.ls(inner, detail=False))
    return sorted(f"{folder.rstrip('/')}/{name}" for name in names)


def modification_time(path: str) -> float:
    """Time of the last write in seconds since the epoch; 0 if a remote filesystem does not provide it."""
    if not is_remote(path):
        return local_path(path).stat().st_mtime
    system, inner = fsspec.core.url_to_fs(path)
    try:
        return float(system.modified(inner).timestamp())
    except NotImplementedError:
        return 0.0


def is_written_after(path: str, other: str) -> bool:
    """Whether the content of a file is certainly newer than another file.

    It is not certain if both times are equal, if the other file was renamed, copied or given other permissions since,
    if the time lies ahead (a clock was set back), or if a remote filesystem does not provide times.
    """
    if is_remote(path):
        return modification_time(path) > modification_time(other)
    status = local_path(other).stat()
    return max(status.st_mtime_ns, status.st_ctime_ns) < local_path(path).stat().st_mtime_ns <= time.time_ns()
