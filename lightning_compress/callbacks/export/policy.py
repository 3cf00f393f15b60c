"""Which checkpoints have a companion file: all of them, the best, or the newest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

from lightning_compress.callbacks.hooks.console import announce
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import best_checkpoints, checkpoint_folders, model_checkpoints
from lightning_compress.callbacks.moments import Moments
from lightning_compress.errors import CallbackError
from lightning_compress.files import is_inside, normalized_path

When = Literal["all", "best", "last"]


class Policy:
    """Tracks the checkpoints that have a companion file, and says which of them lose it.

    * ``all``: every checkpoint has one.
    * ``best``: those that Lightning calls best, ``best_model_path`` of each ``ModelCheckpoint`` in the trainer. A
      checkpoint that is no longer the best loses its companion file, even if it stays among the top k.
    * ``last``: the checkpoint saved last; the one before loses its companion file.

    A companion file is deleted only after its successor is safely written. A link has one if and only if its target
    has.

    Args:
        moments: as :meth:`Moments.policy` reads them.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._checkpoints: set[str] = set()  # those with a companion file, as normalized paths

    def check(self, trainer: Trainer) -> None:
        """Raise a CallbackError if ``best`` is asked for and no callback knows a best checkpoint."""
        if self._moments.saves == "best" and not model_checkpoints(trainer):
            raise CallbackError(
                "when='best' needs a ModelCheckpoint in the trainer to say which checkpoint is best: "
                "add one (with monitor=…), or use when='all' or when='last'"
            )

    def start(self, trainer: Trainer) -> None:
        """Include the files of an earlier run, if this run resumes from it and saves in the same folder."""
        callbacks, folders = model_checkpoints(trainer), checkpoint_folders(trainer)
        known = [path for callback in callbacks for path in (callback.best_model_path, callback.last_model_path)]
        for path in [*known, str(trainer.ckpt_path or "")]:
            if path and any(is_inside(path, folder) for folder in folders):
                self._checkpoints.add(normalized_path(path))

    def includes(self, trainer: Trainer, path: str) -> bool:
        """Whether the checkpoint that is being saved has a companion file. To be called on every rank; they agree."""
        return self._moments.includes(trainer, path)

    def entitled(self, trainer: Trainer, checkpoints: Sequence[str], newest_first: Iterable[str]) -> frozenset[str]:
        """Those among existing checkpoints that have a companion file, when a run resumes.

        Args:
            trainer: that has read what its checkpoint callbacks know.
            checkpoints: those in a folder that are no links.
            newest_first: those of them that belong to the model, in this order.
        """
        if self._moments.saves == "last":
            return frozenset(islice(newest_first, 1))
        best = best_checkpoints(trainer)
        return frozenset(p for p in checkpoints if self._moments.saves == "all" or normalized_path(p) in best)

    def include(self, path: str) -> None:
        """Include a checkpoint that has a companion file when the run resumes."""
        self._checkpoints.add(normalized_path(path))

    def written(self, path: str, best: frozenset[str]) -> list[str]:
        """The checkpoints that lose their companion file now that the one of ``path`` is written.

        Args:
            path: a checkpoint.
            best: the best checkpoints, as normalized paths.
        """
        self._checkpoints.add(normalized_path(path))
        if self._moments.saves == "all":
            return []
        keep = best if self._moments.saves == "best" else {normalized_path(path)}
        lost = sorted(self._checkpoints - keep)
        self._checkpoints &= keep
        return lost

    def removed(self, path: str) -> None:
        """Forget a checkpoint that was deleted."""
        self._checkpoints.discard(normalized_path(path))


def tell_if_nothing_is_saved(trainer: Trainer) -> None:
    """Say so where the trainer saves no checkpoints, and so no files are written."""
    if getattr(trainer, "fast_dev_run", False):  # Lightning sets it from outside of its class
        announce("fast_dev_run saves no checkpoints, so no compressed file is written; the plan is checked")
    elif not trainer.checkpoint_callbacks:
        announce(
            "The trainer has no callback that saves checkpoints (enable_checkpointing=False), so a compressed file "
            "is written only at trainer.save_checkpoint(…)"
        )
