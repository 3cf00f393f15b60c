"""The compressed file beside a checkpoint: linked and deleted with it, never mistaken for another program's file.

Every path here is of the name of today. A file of the earlier name ``NAME.safetensors`` counts as the companion file
until one of today's name takes its place.
"""

from __future__ import annotations

import os
from pathlib import Path

import fsspec

from lightning_compress.archive import Archive, is_archive
from lightning_compress.errors import ForeignFileError
from lightning_compress.files import exists, is_remote, local_path, replace_by_link
from lightning_compress.files.companion_names import EARLIER_SUFFIX, earlier_name, is_companion_name


def find(path: str) -> str:
    """The companion file that is there: ``path``, or the file of its earlier name; ``path`` if there is none."""
    earlier = earlier_name(path)
    return earlier if earlier is not None and not is_archive(path) and is_archive(earlier) else path


def discard(path: str) -> bool:
    """Delete the compressed file, or the link to one, and say whether one was there.

    The links to it in its folder go with it. Whatever this package did not write stays. A link without a target counts
    as ours: only a compressed file is linked under such a name.

    Raises:
        OSError: it is there and cannot be deleted.
    """
    found = [_discard(name) for name in _names(path)]
    return any(found)


def withdraw(path: str) -> bool:
    """Like :func:`discard`, but the links stay: they lead to the file again when it is written anew."""
    found = [_delete(name) for name in _names(path)]
    return any(found)


def discard_earlier(path: str) -> None:
    """Delete the file of the earlier name, with the links to it, now that ``path`` is written.

    Raises:
        OSError: it is there and cannot be deleted.
    """
    for name in _names(path)[1:]:
        _discard(name)


def _names(path: str) -> list[str]:
    earlier = earlier_name(path)
    return [path] if earlier is None else [path, earlier]


def _discard(path: str) -> bool:
    was_there = _delete(path)
    if not is_remote(path) and not exists(path):
        _discard_links_to(local_path(path))
    return was_there


def _delete(path: str) -> bool:
    if not (is_archive(path) or _dangles(path)):
        return False
    if is_remote(path):
        system, inner = fsspec.core.url_to_fs(path)
        system.rm_file(inner)
    else:
        local_path(path).unlink()
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
        replace_by_link(place, os.path.relpath(local_path(target), place.parent))
    except OSError:
        # Windows grants links to administrators only; Lightning copies its checkpoint then, too.
        Archive.open(target).save(path)
    discard_earlier(path)


def discard_if_dangling(path: str) -> bool:
    """Delete a link that leads to no file, if it is like those that :func:`link` makes; say whether it was deleted.

    Raises:
        OSError: it cannot be deleted.
    """
    if not (is_companion_name(path) and _dangles(path)):
        return False
    leads_to = local_path(path).readlink()
    if leads_to.is_absolute() or not is_companion_name(leads_to):
        return False
    local_path(path).unlink(missing_ok=True)
    return True


def _discard_links_to(place: Path) -> None:
    for other in place.parent.glob(f"*{EARLIER_SUFFIX}"):
        if other.is_symlink() and str(other.readlink()) == place.name:
            other.unlink()


def _dangles(path: str) -> bool:
    return not is_remote(path) and local_path(path).is_symlink() and not local_path(path).exists()
