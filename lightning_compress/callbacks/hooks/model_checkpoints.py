"""What the checkpoint callbacks of a trainer say: the metrics they monitor, their best checkpoints, their folders."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Literal

from lightning_compress.callbacks.hooks.lightning_types import ModelCheckpoint, Trainer
from lightning_compress.files import normalized_path

Mode = Literal["min", "max"]
# The names under which the learning rate finder and the batch size finder save; they delete the file afterwards.
_TEMPORARY = (".lr_find_", ".scale_batch_size_")


def monitored_metrics(trainer: Trainer) -> dict[str, Mode]:
    """The metric of each ``ModelCheckpoint`` that monitors one → its mode."""
    callbacks = [callback for callback in model_checkpoints(trainer) if callback.monitor]
    return {str(callback.monitor): "max" if callback.mode == "max" else "min" for callback in callbacks}


def best_checkpoints(trainer: Trainer) -> frozenset[str]:
    """The best checkpoint of each ``ModelCheckpoint``, as normalized paths."""
    paths = (callback.best_model_path for callback in model_checkpoints(trainer))
    return frozenset(normalized_path(path) for path in paths if path)


def is_best(trainer: Trainer, path: str) -> bool:
    """Whether a ``ModelCheckpoint`` calls the checkpoint at ``path`` its best."""
    return normalized_path(path) in best_checkpoints(trainer)


def model_checkpoints(trainer: Trainer) -> list[ModelCheckpoint]:
    """The trainer's callbacks that know a best checkpoint."""
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]


def checkpoint_folders(trainer: Trainer) -> list[str]:
    """The folders that the trainer's checkpoint callbacks save in."""
    folders = (getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks)
    return [str(folder) for folder in folders if folder]


def folder_of_checkpoints(trainer: Trainer) -> str:
    """The first folder that checkpoints are saved in; ``default_root_dir`` if there is none."""
    return next(iter(checkpoint_folders(trainer)), str(trainer.default_root_dir))


def is_temporary(checkpoint: str | PathLike[str]) -> bool:
    """Whether a tuner saves this checkpoint only to restore and delete it."""
    return fspath(checkpoint).replace("\\", "/").rpartition("/")[2].startswith(_TEMPORARY)
