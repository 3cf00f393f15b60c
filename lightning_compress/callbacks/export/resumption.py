"""Puts the folders of a training in order when it starts, after a process that was killed between two writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import torch

from lightning_compress import files
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.callbacks.export.companions.staleness import is_checkpoint, is_current, linked_companion
from lightning_compress.callbacks.export.exporter import discard, export_error
from lightning_compress.callbacks.export.exports import OnError
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.callbacks.hooks.collective import raise_on_every_rank
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import checkpoint_folders
from lightning_compress.compression import checkpoint_at
from lightning_compress.errors import WeightsError
from lightning_compress.files.companion_names import companion_of
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights.reading.checkpoint import Checkpoint

MOST_SECONDS = 60.0
_log = logging.getLogger(__name__)


def resume(
    trainer: Trainer, policy: Policy, compress: Callable[[Checkpoint], Archive] | None, on_error: OnError
) -> None:
    """Put the folders of a run in order. To be called on every rank.

    Args:
        trainer: whose callbacks are restored.
        policy: as for :class:`Resumption`.
        compress: likewise.
        on_error: whether the first failure is raised, or all are logged.

    Raises:
        CompressionError: an export has failed, and ``on_error`` is ``"raise"``.
    """
    resumption = Resumption(policy, compress)
    if trainer.is_global_zero:
        with preserved_random_state(), torch.no_grad():
            resumption.run(trainer)
    if on_error == "raise":
        raise_on_every_rank(trainer.strategy, next(iter(resumption.failures.values()), None))
        return
    for path, error in resumption.failures.items():
        _log.error("no compressed file at %s, the training goes on: %s", path, error)


class Resumption:
    """Renews companion files in the folders that the trainer's checkpoint callbacks save in.

    A checkpoint whose companion file is missing or stale gets a new one, if the policy gives it one. Otherwise a stale
    file is deleted now, and a current one after the next save. Checkpoints that cannot be read, or that belong to
    another model (their tensors have other names than those of the checkpoint that the run resumes from), are left
    alone.

    Args:
        policy: which checkpoints have a companion file.
        compress: content of a checkpoint → its archive; None if that takes a search: stale files are only deleted.

    Attributes:
        failures: companion file or folder → the error that occurred there.
    """

    def __init__(self, policy: Policy, compress: Callable[[Checkpoint], Archive] | None) -> None:
        self._policy, self._compress = policy, compress
        self._done: dict[str, list[str]] = {"written": [], "deleted": [], "not looked at": []}
        self.failures: dict[str, Exception] = {}

    def run(self, trainer: Trainer) -> None:
        """Delete temporary files that killed processes left, and if the run resumes, renew companion files.

        The newest checkpoints come first; none is begun after :data:`MOST_SECONDS`. What was done is logged in one
        line. Nothing is raised. To be called on rank 0, after Lightning has restored its callbacks.
        """
        end = time.monotonic() + MOST_SECONDS
        for folder in filter(files.exists, dict.fromkeys(checkpoint_folders(trainer))):
            self._put_in_order(trainer, folder, end)
        self._report()

    def _put_in_order(self, trainer: Trainer, folder: str, end: float) -> None:
        try:
            paths = files.list_folder(folder)
            self._delete_left_overs(paths)
            if trainer.ckpt_path:
                self._renew_all(trainer, [path for path in paths if is_checkpoint(path)], end)
        except Exception as error:
            self.failures[folder] = error

    def _delete_left_overs(self, paths: Sequence[str]) -> None:
        """Temporary files, and links whose companion file was deleted when the process was killed."""
        for path in (path for path in paths if not files.is_remote(path)):
            local = files.local_path(path)
            if files.is_temporary_name(local.name):
                deleted = files.remove_left_over(local)
            else:
                deleted = companion_files.discard_if_dangling(path)
            self._done["deleted"] += [local.name] if deleted else []

    def _renew_all(self, trainer: Trainer, checkpoints: Sequence[str], end: float) -> None:
        expected = cache(partial(_tensor_names, str(trainer.ckpt_path)))
        links = [path for path in checkpoints if linked_companion(path)]
        newest_first = sorted(set(checkpoints) - set(links), key=files.modification_time, reverse=True)
        is_own = cache(lambda path: _is_of_model(path, expected()))  # each checkpoint is read once for it
        entitled = self._policy.entitled(trainer, newest_first, filter(is_own, newest_first))
        for checkpoint in (*newest_first, *links):  # a link needs the file that it leads to
            if time.monotonic() > end:
                self._done["not looked at"].append(companion_of(checkpoint))
            elif _may_be_outdated(checkpoint, checkpoint in entitled) and is_own(checkpoint):
                self._renew(checkpoint, checkpoint in entitled)
            elif _is_surplus(checkpoint, checkpoint in entitled) and is_own(checkpoint):
                self._policy.include(checkpoint)  # the next save deletes it

    def _renew(self, checkpoint: str, is_entitled: bool) -> None:
        try:
            self._write_or_delete(checkpoint, is_entitled)
        except Exception as error:
            companion = companion_of(checkpoint)
            discard(companion)
            self.failures[companion] = export_error(companion, error)

    def _write_or_delete(self, checkpoint: str, is_entitled: bool) -> None:
        companion, linked = companion_of(checkpoint), linked_companion(checkpoint)
        if linked and is_archive(linked):
            companion_files.link(linked, companion)
        elif is_entitled and self._compress is not None:
            self._compress(checkpoint_at(checkpoint, deferred=True)).save(companion)
            companion_files.discard_earlier(companion)
            self._policy.include(checkpoint)
        else:
            self._done["deleted"] += [companion] if companion_files.discard(companion) else []
            return
        self._done["written"].append(companion)

    def _report(self) -> None:
        parts = [f"{what}: {', '.join(paths)}" for what, paths in self._done.items() if paths]
        if parts:
            _log.warning("companion files were not up to date when the training started; %s", "; ".join(parts))


def _may_be_outdated(checkpoint: str, is_entitled: bool) -> bool:
    """Whether a checkpoint has a stale companion file, or none although it should have one."""
    if (
        not is_entitled
        and not is_archive(companion_files.find(companion_of(checkpoint)))
        and linked_companion(checkpoint) is None
    ):
        return False
    try:
        return not is_current(checkpoint)
    except (WeightsError, OSError):
        return False  # the checkpoint cannot be read


def _is_surplus(checkpoint: str, is_entitled: bool) -> bool:
    """Whether a checkpoint has a companion file that a killed process did not come to delete."""
    companion = companion_files.find(companion_of(checkpoint))
    return not is_entitled and linked_companion(checkpoint) is None and is_archive(companion)


def _is_of_model(checkpoint: str, expected: frozenset[str]) -> bool:
    """Whether a checkpoint can be read and has tensors of these names."""
    try:
        return _tensor_names(checkpoint) == expected
    except WeightsError:
        return False


def _tensor_names(checkpoint: str) -> frozenset[str]:
    return frozenset(checkpoint_at(checkpoint, deferred=True).state)
