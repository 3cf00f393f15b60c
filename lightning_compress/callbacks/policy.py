"""Which checkpoints have a compressed file: all of them, the best, or the newest."""

from __future__ import annotations

from typing import Any, Literal, get_args

from lightning_compress.errors import CallbackError
from lightning_compress.files import is_inside, normalized_path

When = Literal["all", "best", "last"]


class Policy:
    """Follows the checkpoints that have a compressed file and tells which of those should lose it.

    * ``all``: every checkpoint has one.
    * ``best``: those which Lightning calls best, ``best_model_path`` of each ``ModelCheckpoint`` in the
      trainer; what stops being best loses it, though its checkpoint may stay among the top k.
    * ``last``: the checkpoint saved last, by whomever; the one before loses it.

    A file loses it only when its successor is safely written. A link has one if and only if its target has.
    """

    def __init__(self, when: When) -> None:
        if when not in get_args(When):
            raise CallbackError(f"when={when!r} is not known: write 'all', 'best' or 'last'")
        self.when = when
        self._holders: set[str] = set()

    def check(self, trainer: Any) -> None:
        """Raise a CallbackError if ``best`` is asked for and no callback knows a best checkpoint."""
        if self.when == "best" and not any(hasattr(c, "best_model_path") for c in trainer.checkpoint_callbacks):
            raise CallbackError(
                "when='best' needs a ModelCheckpoint in the trainer to say which checkpoint is best: "
                "add one (with monitor=…), or use when='all' or when='last'"
            )

    def start(self, trainer: Any) -> None:
        """Take up what an earlier run left, where this run resumes from it and saves in the same folder."""
        callbacks = trainer.checkpoint_callbacks
        known = [
            getattr(callback, name, "") for callback in callbacks for name in ("best_model_path", "last_model_path")
        ]
        folders = [str(c.dirpath) for c in callbacks if getattr(c, "dirpath", None)]
        for path in [*known, str(trainer.ckpt_path or "")]:
            if path and any(is_inside(path, folder) for folder in folders):
                self._holders.add(normalized_path(path))

    def wants(self, trainer: Any, path: str) -> bool:
        """Whether the checkpoint being saved at ``path`` is to have a compressed file; alike on all ranks."""
        if self.when != "best":
            return True
        # Ranks may name a checkpoint differently, when a metric in its name is not reduced: rank 0 writes,
        # and decides.
        return bool(trainer.strategy.broadcast(is_best(trainer, path), src=0))

    def written(self, trainer: Any, path: str) -> list[str]:
        """Note that ``path`` now has its compressed file; the checkpoints that should lose theirs."""
        self._holders.add(normalized_path(path))
        if self.when == "all":
            return []
        keep = _best(trainer) if self.when == "best" else {normalized_path(path)}
        lost = sorted(self._holders - keep)
        self._holders &= keep
        return lost

    def removed(self, path: str) -> None:
        """Note that the checkpoint at ``path`` is gone."""
        self._holders.discard(normalized_path(path))


def is_best(trainer: Any, path: str) -> bool:
    """Whether a ``ModelCheckpoint`` of the trainer calls the checkpoint at ``path`` its best."""
    return normalized_path(path) in _best(trainer)


def _best(trainer: Any) -> set[str]:
    paths = (getattr(callback, "best_model_path", "") for callback in trainer.checkpoint_callbacks)
    return {normalized_path(path) for path in paths if path}
