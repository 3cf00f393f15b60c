"""``ReadCompressed``: compressed files as ``ckpt_path`` in trainers without ``CompressCheckpoint``.

Every trainer imports this module, so it imports nothing of this package but what names Lightning; the rest follows when
a trainer reads a checkpoint that ``torch.save`` did not write.
"""

from __future__ import annotations

import logging
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_compress.callbacks.hooks.base import callback_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from pytorch_lightning import Callback as _Callback
    from torch import nn

    from lightning_compress.callbacks.hooks.lightning_types import Strategy, Trainer
else:
    _Callback = callback_class()

_log = logging.getLogger(__name__)
_ATTRIBUTE = "_lightning_compress_reading"
_ORIGIN = "lightning_compress"  # key of the checkpoints that checkpoint_reading makes of compressed files


class ReadCompressed(_Callback):
    """Let ``validate``, ``test`` and ``predict`` take a compressed file as ``ckpt_path``; ``fit`` refuses it.

    Every trainer has this callback where this package is installed: Lightning asks what is installed under the entry
    point ``callbacks_factory`` for callbacks. On the trainer's strategy, that one instance, it replaces the two methods
    that read checkpoints and load their weights. What is no compressed file goes to Lightning unchanged.
    """

    def setup(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Look at the paths of the checkpoints that the trainer reads."""
        if not hasattr(trainer.strategy, _ATTRIBUTE):
            _Reading(trainer.strategy)


def for_every_trainer() -> list[ReadCompressed]:
    """The callbacks that every trainer has; called by Lightning, through the entry point."""
    return [ReadCompressed()]


class _Reading:
    """The methods that take the place of those of one strategy; with it, they can be copied and pickled."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._read: Callable[..., dict[str, Any]] = strategy.load_checkpoint
        self._load: Callable[..., None] = strategy.load_model_state_dict
        own = {"load_checkpoint": self.load_checkpoint, "load_model_state_dict": self.load_model_state_dict}
        vars(strategy).update({**own, _ATTRIBUTE: True})

    def load_checkpoint(self, checkpoint_path: str | PathLike[str], *args: object, **kwargs: object) -> dict[str, Any]:
        """Read a checkpoint."""
        path = fspath(checkpoint_path)
        content = None if _is_saved_by_torch(path) else self._content(path)
        if content is not None:
            return content
        return self._read(checkpoint_path, *args, **kwargs)

    def _content(self, path: str) -> dict[str, Any] | None:
        """What a compressed file holds, as a checkpoint; None for any other file, whatever its name is."""
        try:
            from lightning_compress.archive import is_archive
            from lightning_compress.callbacks.export import checkpoint_reading
        except ImportError as error:  # an environment that lacks a library must not keep Lightning from its own files
            _log.warning("lightning-compress cannot look whether %s is a compressed file: %s", path, error)
            return None
        module: Any = self._strategy.lightning_module
        return checkpoint_reading.read(module.trainer, path) if is_archive(path) else None

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the weights of a checkpoint."""
        if _ORIGIN in checkpoint:
            from lightning_compress.callbacks.export import checkpoint_reading

            if checkpoint_reading.restore(self._strategy, checkpoint, strict):
                return
        self._load(checkpoint, strict=strict)


def _is_saved_by_torch(path: str) -> bool:
    """Whether a file called ``.ckpt`` may be one of ``torch.save``: one that is not read here, or a ZIP archive."""
    if not path.endswith(".ckpt"):
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return True
