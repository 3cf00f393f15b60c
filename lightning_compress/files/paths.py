"""Paths of files and folders, local or behind a URL."""

from __future__ import annotations

from pathlib import Path

import fsspec

from lightning_compress.files.storage import is_remote, local_path


def same_place(path: str) -> str:
    """The path in one spelling: its folder resolved, its own name kept, also where that is a link."""
    if is_remote(path):
        return path.rstrip("/")
    return str(local_path(path).parent.resolve() / local_path(path).name)


def is_inside(path: str, folder: str) -> bool:
    """Whether a file lies in a folder or below it."""
    if is_remote(path) or is_remote(folder):
        return path.startswith(f"{folder.rstrip('/')}/")
    return local_path(folder).resolve() in Path(same_place(path)).parents


def exists(path: str) -> bool:
    """Whether something is there; a link counts only with its target."""
    if not is_remote(path):
        return local_path(path).exists()
    system, inner = fsspec.core.url_to_fs(path)
    return bool(system.exists(inner))


def make_folder_of(path: str) -> None:
    """Make sure that the local folder of a file is there; an asynchronous save makes it only later."""
    if not is_remote(path):
        local_path(path).parent.mkdir(parents=True, exist_ok=True)


def listing(folder: str) -> list[str]:
    """Paths of what lies directly in a folder, sorted; links by their own name.

    Raises:
        OSError: there is no such folder.
    """
    if not is_remote(folder):
        return sorted(str(path) for path in local_path(folder).iterdir())
    system, inner = fsspec.core.url_to_fs(folder)
    names = (path.rstrip("/").rpartition("/")[2] for path in system.ls(inner, detail=False))
    return sorted(f"{folder.rstrip('/')}/{name}" for name in names)


def modified(path: str) -> float:
    """When the content at a path was last written, in seconds; 0 where a remote filesystem does not tell."""
    if not is_remote(path):
        return local_path(path).stat().st_mtime
    system, inner = fsspec.core.url_to_fs(path)
    try:
        return float(system.modified(inner).timestamp())
    except NotImplementedError:
        return 0.0
