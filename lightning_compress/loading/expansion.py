"""Loads the tensors of a compressed file, and expands it to a Lightning checkpoint or plain safetensors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from lightning_compress.archive import Archive, Entry
from lightning_compress.errors import ForeignFileError, WeightsError
from lightning_compress.files import flush_to_disk, replacement
from lightning_compress.loading.installed_lightning import lightning_version
from lightning_compress.loading.stored_module import StoredModule
from lightning_compress.weights import ASSETS_KEY

SUFFIXES = (".ckpt", ".safetensors")
_RESERVED = "__metadata__"  # the key of a safetensors header that is no tensor
_log = logging.getLogger(__name__)


def load(path: str | PathLike[str], *, max_bytes: int | None = None) -> dict[str, Tensor]:
    """Every tensor of a compressed file, in its original dtype; tied tensors share memory.

    Args and errors as for :meth:`Archive.open` and :meth:`Archive.restore`.
    """
    return Archive.open(path, max_bytes=max_bytes).restore()


def expand(
    path: str | PathLike[str],
    out: str | PathLike[str],
    *,
    max_bytes: int | None = None,
    on_tensor: Callable[[Entry], None] | None = None,
) -> None:
    """Write a compressed file as a Lightning checkpoint (``out`` ends in ``.ckpt``) or as plain safetensors.

    A tensor named ``__metadata__``, a key that safetensors reserves, is called ``##__metadata__`` in a plain file.

    Args:
        path: a compressed file.
        out: path of the new file, which ends in ``.ckpt`` or ``.safetensors``.
        max_bytes: as for :meth:`Archive.open`.
        on_tensor: called after each restored tensor, for progress.

    Raises:
        ForeignFileError: ``out`` exists.
        FormatError: ``path`` is not a valid compressed file.
        WeightsError: ``out`` ends otherwise, or the file has a dtype or tensor names that safetensors does not support.
        OSError: a file cannot be read or written; no partial file remains.
    """
    target = Path(fspath(out))
    if target.suffix not in SUFFIXES:
        raise WeightsError(
            f"{target} ends in {target.suffix!r}; write .ckpt for a Lightning checkpoint, or .safetensors"
        )
    _check_absent(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: create it, or write elsewhere")
    archive = Archive.open(path, max_bytes=max_bytes)
    if target.suffix == ".ckpt":
        checkpoint = as_checkpoint(archive, on_tensor=on_tensor)
        if not checkpoint[ASSETS_KEY]:
            del checkpoint[ASSETS_KEY]
        _write_atomically(target, lambda file: torch.save(checkpoint, file))
        return
    keys = _safetensors_keys(archive.manifest.names)
    # Cloned, because safetensors does not support shared memory; other tools require the key "format".
    tensors = {keys[name]: t.clone().contiguous() for name, t in archive.restore(on_tensor=on_tensor).items()}
    # Not save_file(): it creates a file of its own that only its owner may read, whatever the umask.
    _write_atomically(target, lambda file: file.write(safetensors.torch.save(tensors, metadata={"format": "pt"})))


def as_checkpoint(archive: Archive, *, on_tensor: Callable[[Entry], None] | None = None) -> dict[str, Any]:
    """A checkpoint dictionary of Lightning with the weights, hyper-parameters and further values of a file.

    It has what rebuilds a module, and not what only resumes a training. Attached files are under ``assets``.
    """
    return StoredModule.of_archive(archive, "the file", on_tensor=on_tensor).as_checkpoint(lightning_version())


def _safetensors_keys(names: Iterable[str]) -> dict[str, str]:
    """Tensor name → its key in a plain safetensors file: the name, except for the one that safetensors reserves.

    Raises:
        WeightsError: a tensor has the key already that replaces the reserved name.
    """
    keys = {name: name for name in names}
    if _RESERVED in keys:
        key = f"##{_RESERVED}"
        if key in keys:
            raise WeightsError(
                f"safetensors reserves the name {_RESERVED!r}, and its replacement {key!r} is the name of another "
                "tensor: expand to a .ckpt instead"
            )
        _log.warning("safetensors reserves the name %r: this tensor is written as %r", _RESERVED, key)
        keys[_RESERVED] = key
    return keys


def _check_absent(target: Path) -> None:
    """Refuse to replace anything, a link without a target included."""
    if os.path.lexists(target):
        raise ForeignFileError(f"{target} exists and is not replaced: remove it, or write elsewhere")


def _write_atomically(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` with a temporary file beside ``target``, then rename the complete file."""
    try:
        with replacement(target) as (_, file):
            write(file)
            flush_to_disk(file)
            _check_absent(target)  # it may have been created meanwhile
    except KeyError as error:
        raise WeightsError(f"safetensors cannot hold {error}: expand to a .ckpt instead") from error
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise OSError(f"cannot write {target}: {error}") from error
