"""Loads the tensors of a compressed file, and expands it to a Lightning checkpoint or plain safetensors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lightning_compress.archive import Archive, Entry
from lightning_compress.errors import ForeignFileError, MismatchError, WeightsError, did_you_mean
from lightning_compress.files import flush_to_disk, is_remote, replacement
from lightning_compress.loading.installed_lightning import lightning_version
from lightning_compress.loading.stored_module import StoredModule
from lightning_compress.loading.streamed_files import write_checkpoint, write_safetensors
from lightning_compress.weights import ASSETS_KEY, DeferredTensor, contiguous_strides

SUFFIXES = (".ckpt", ".safetensors")
_RESERVED = "__metadata__"  # the key of a safetensors header that is no tensor
_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_log = logging.getLogger(__name__)


def load(
    path: str | PathLike[str],
    *,
    names: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    max_bytes: int | None = None,
) -> dict[str, Tensor]:
    """The tensors of a compressed file, in their original dtypes; tied tensors share memory.

    Args:
        path: path or URL of a compressed file.
        names: the tensors to read; all by default. Of the file, only their bytes are read, a remote one by ranges.
        device: where the tensors are moved to, one at a time.
        max_bytes: as for :meth:`Archive.open`.

    Raises:
        MismatchError: the file has no tensor of a name.
        FormatError, ChecksumError: the file is damaged.
        OSError: it cannot be read.
    """
    deferred = names is not None or not is_remote(fspath(path))  # a remote file is faster to read as a whole
    archive = Archive.open(path, max_bytes=max_bytes, deferred=deferred)
    if names is not None:
        _check_names(names, archive.manifest.names, str(path))
    return archive.restore(names=names, device=device)


def _check_names(names: Collection[str], known: Collection[str], path: str) -> None:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise MismatchError(f"names is {names!r:.80}, expected a list of names of tensors")
    for name in names:
        if name not in known:
            raise MismatchError(f"{path} has no tensor {name!r}{did_you_mean(str(name), known)}")


def expand(
    path: str | PathLike[str],
    out: str | PathLike[str],
    *,
    dtype: torch.dtype | str | None = None,
    max_bytes: int | None = None,
    on_tensor: Callable[[Entry], None] | None = None,
) -> None:
    """Write a compressed file as a Lightning checkpoint (``out`` ends in ``.ckpt``) or as plain safetensors.

    One tensor at a time is in memory. A tensor named ``__metadata__``, a key that safetensors reserves, is called
    ``##__metadata__`` in a plain file.

    Args:
        path: a compressed file.
        out: path of the new file, which ends in ``.ckpt`` or ``.safetensors``.
        dtype: type of all floating-point tensors in a safetensors file: ``"fp32"``, ``"bf16"``, ``"fp16"`` or the
            torch dtype. By default each has its own.
        max_bytes: as for :meth:`Archive.open`.
        on_tensor: called after each restored tensor, for progress.

    Raises:
        ForeignFileError: ``out`` exists.
        FormatError: ``path`` is not a valid compressed file.
        WeightsError: ``out`` ends otherwise, ``dtype`` is another or given for a checkpoint, or the file
            has a dtype or tensor names that safetensors does not support.
        OSError: a file cannot be read or written; no partial file remains.
    """
    target = Path(fspath(out))
    if target.suffix not in SUFFIXES:
        raise WeightsError(
            f"{target} ends in {target.suffix!r}; write .ckpt for a Lightning checkpoint, or .safetensors"
        )
    converted = _precision(dtype, target)
    _check_absent(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: create it, or write elsewhere")
    archive = Archive.open(path, max_bytes=max_bytes, deferred=True)
    entries = {entry.name: entry for entry in archive.manifest.entries}

    def written(name: str) -> None:
        if on_tensor is not None and name in entries:
            on_tensor(entries[name])

    tensors = {name: archive.tensors.deferred(name) for name in archive.manifest.names}
    if target.suffix == ".ckpt":
        checkpoint = StoredModule(tensors, archive.record(), archive.manifest.excluded).as_checkpoint(
            lightning_version()
        )
        if not checkpoint[ASSETS_KEY]:
            del checkpoint[ASSETS_KEY]
        stored = {name: tensors[name] for name in entries}
        _write_atomically(target, lambda file: write_checkpoint(file, checkpoint, stored, written))
        return
    keys = _safetensors_keys(archive.manifest.names)
    if converted is not None:
        tensors = {name: _converted(name, tensor, converted) for name, tensor in tensors.items()}
    renamed = {keys[name]: tensor for name, tensor in tensors.items()}
    _write_atomically(target, lambda file: write_safetensors(file, renamed, written))


def _precision(dtype: torch.dtype | str | None, target: Path) -> torch.dtype | None:
    if dtype is None:
        return None
    found = _PRECISIONS.get(dtype) if isinstance(dtype, str) else dtype
    if found not in _PRECISIONS.values():
        raise WeightsError(f"dtype is {dtype!r:.80}, expected one of {', '.join(_PRECISIONS)}")
    if target.suffix != ".safetensors":
        raise WeightsError(
            f"{target} is a checkpoint, whose tensors keep their own types: leave dtype out, or write .safetensors"
        )
    return found


def _converted(name: str, tensor: DeferredTensor, dtype: torch.dtype) -> DeferredTensor:
    """A floating-point tensor in another type, converted when it is written; others are returned as they are."""
    if not tensor.is_floating_point() or tensor.dtype == dtype:
        return tensor

    def values() -> Tensor:
        exact = tensor.detach()
        rounded = exact.to(dtype)
        if bool((exact.isfinite() & ~rounded.isfinite()).any()):
            _log.warning("%r has values that are too large for %s: they are infinite in the file", name, dtype)
        return rounded

    return DeferredTensor(values, dtype, tensor.shape, contiguous_strides(tensor.shape))


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
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write, which does not name its file
            raise OSError(error.errno, f"cannot write the file: {os.strerror(error.errno)}", str(target)) from error
        raise
