"""Compressed files, local or behind a URL: looked for, linked, deleted, never mistaken for other files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec

from lightning_compress.archive import Archive, is_archive
from lightning_compress.archive.storage import becoming, is_remote, local_path, replace_file
from lightning_compress.callbacks.naming import PARTIAL_SUFFIX, SUFFIX
from lightning_compress.errors import ForeignFileError


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


def folder_of_checkpoints(trainer: Any) -> str:
    """Where a trainer's checkpoints are, or where they would be."""
    folders = (getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks)
    return str(next(filter(None, folders), None) or trainer.default_root_dir)


def write_record(path: str, text: str, is_ours: Callable[[str], bool]) -> None:
    """Write what was measured beside the checkpoints, in place of an older record alone.

    Args:
        path: local path or URL; its folder is made.
        text: the content.
        is_ours: whether a file is an older record.

    Raises:
        ForeignFileError: another program's file has the name.
        OSError: it cannot be written.
    """
    make_folder_of(path)
    replace_file(path, [text.encode()], lambda _: None, is_ours)


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


def discard(path: str) -> bool:
    """Delete the compressed file, or the link to one, and say whether one was there.

    The links to it in its folder go with it. Whatever this package did not write stays. A link without a target counts
    as ours: only a compressed file is linked under such a name.

    Raises:
        OSError: it is there and cannot be deleted.
    """
    if not (is_archive(path) or _dangles(path) or _is_partial(path)):
        return False
    if is_remote(path):
        system, inner = fsspec.core.url_to_fs(path)
        system.rm_file(inner)
    else:
        local_path(path).unlink()
        _discard_links_to(local_path(path))
    return True


def link(target: str, path: str) -> None:
    """Make ``path`` a relative link to the compressed file ``target``; a copy where links are not allowed.

    Raises:
        ForeignFileError: another program's file stands at ``path``.
        OSError: the folder cannot be written to.
    """
    if exists(path) and not is_archive(path):
        raise ForeignFileError(
            f"{path} was not written by this package and is left alone: move it away, or save the checkpoint elsewhere"
        )
    place = local_path(path)
    try:
        with becoming(place) as fresh:
            fresh.symlink_to(os.path.relpath(local_path(target), place.parent))
    except OSError:
        # Windows grants links to administrators only; Lightning copies its checkpoint then, too.
        Archive.open(target).save(path)


def _discard_links_to(place: Path) -> None:
    for other in place.parent.glob(f"*{SUFFIX}"):
        if other.is_symlink() and str(other.readlink()) == place.name:
            other.unlink()


def _is_partial(path: str) -> bool:
    """Whether it is what a writer leaves that is killed before it can rename its file."""
    place = local_path(path)
    return not is_remote(path) and place.match(f".*{PARTIAL_SUFFIX}") and place.is_file()


def _dangles(path: str) -> bool:
    return not is_remote(path) and local_path(path).is_symlink() and not local_path(path).exists()
