"""``CompressedCheckpointIO``: Lightning's checkpoints themselves without loss in fewer bytes, for resuming."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_compress.callbacks.arguments import check_whole_number
from lightning_compress.callbacks.hooks.base import lightning_name
from lightning_compress.errors import FormatError
from lightning_compress.files.paths import is_remote, local_path
from lightning_compress.resumable import (
    ResumableFile,
    is_resumable,
    read_file,
    remove_file,
    remove_unused,
    set_aside,
    write_file,
)

if TYPE_CHECKING:
    from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO as _TorchCheckpointIO
else:
    _FABRIC = {"lightning.pytorch": "lightning.fabric", "pytorch_lightning": "lightning_fabric"}[lightning_name()]
    _TorchCheckpointIO = import_module(f"{_FABRIC}.plugins.io.torch_io").TorchCheckpointIO

Written = TypeVar("Written")
_log = logging.getLogger(__name__)
_CHANGES = threading.RLock()  # Lightning may save in another thread than it deletes in, and in a signal handler


class CompressedCheckpointIO(_TorchCheckpointIO):
    """Write each checkpoint of a trainer in fewer bytes, with everything that resuming needs, bit for bit.

    ``Trainer(plugins=[CompressedCheckpointIO()])``. Files keep their names, ``.ckpt``; Lightning writes, links, reads
    and deletes them as always. Weights and the states of optimizers are coded without loss and read back before the
    file gets its name. ``fit(ckpt_path=…)`` and the other methods of a trainer read them, with this plugin or without;
    checkpoints of ``torch.save`` are read as before. Where one cannot be written so, it is written by ``torch.save``,
    and one line says why: no checkpoint is lost. Remote paths and sharded checkpoints are left to Lightning.

    Args:
        whole_every: of so many checkpoints in a row one is whole, and the others hold differences to the one before,
            which takes fewer bytes and longer. 1: all are whole, and each can be moved alone. A checkpoint that others
            refer to is kept under a hidden name, ``.….parent``, when Lightning deletes it, until the last of them is
            deleted.

    Attributes:
        ratio: bytes of the tensors of the checkpoint that was written last, over bytes of its file; None before.

    Raises:
        CallbackError: ``whole_every`` is no whole number from 1.
    """

    def __init__(self, whole_every: int = 1) -> None:
        super().__init__()
        check_whole_number("whole_every", whole_every, 1)
        self.whole_every = whole_every
        self.ratio: float | None = None
        self._latest: ResumableFile | None = None
        self._since_whole = 0

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        if is_remote(fspath(path)) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target, save = local_path(fspath(path)), super().save_checkpoint
        with _CHANGES:  # what the file refers to is not deleted meanwhile
            try:
                self._write(checkpoint, target)
            except Exception as error:
                _log.warning("%s is written by torch.save, since it cannot be compressed: %s", target, error)
                _put(target, lambda new: save(checkpoint, new))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; tensors of a compressed one are in main memory."""
        compressed = _compressed(path)
        if compressed is not None:
            return read_file(compressed, weights_only=weights_only)
        if map_location is None:
            return super().load_checkpoint(path, weights_only=weights_only)
        return super().load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint, and what only it referred to."""
        compressed = _compressed(path)
        if compressed is None:
            super().remove_checkpoint(path)
            return
        with _CHANGES:
            remove_file(compressed)

    def _write(self, checkpoint: dict[str, Any], target: Path) -> None:
        parent = self._parent(target.parent)
        written = _put(target, lambda new: write_file(checkpoint, new, parent))
        if parent is None and self.whole_every > 1:
            remove_unused(target.parent)  # names that are used again leave files aside
        self._since_whole = 0 if parent is None else self._since_whole + 1
        self._latest = replace(written, path=target)
        nbytes = written.archive.nbytes
        self.ratio = written.record["bytes"] / max(1, nbytes)
        _log.info("%s: %s bytes, %.2f times smaller, exactly", target.name, f"{nbytes:,}", self.ratio)

    def _parent(self, folder: Path) -> ResumableFile | None:
        """The checkpoint that the next one may refer to: the last one, if it is still there."""
        latest = self._latest
        if latest is None or self._since_whole + 1 >= self.whole_every or latest.path.parent != folder:
            return None
        try:
            found = ResumableFile.open(latest.path)
        except (FormatError, OSError):
            return None
        return found if found.identity == latest.identity else None


def _put(target: Path, write: Callable[[Path], Written]) -> Written:
    """Write a file under a hidden name. When it is complete it takes the place of the one that had its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    try:
        written = write(new)
        set_aside(target)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    return written


def _compressed(path: str | Path) -> Path | None:
    """The local path of an exact compressed checkpoint; None for any other file."""
    local = None if is_remote(fspath(path)) else local_path(fspath(path))
    return local if local is not None and is_resumable(local) else None
