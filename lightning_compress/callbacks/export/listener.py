"""The listener that turns each save, link and deletion of a checkpoint into a job, and a saved checkpoint likewise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export import checkpoint_reading
from lightning_compress.callbacks.export.exports import Exports, export_job
from lightning_compress.callbacks.export.jobs import DeleteJob, ExportJob, FailedJob, Job, LinkJob
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.callbacks.export.sharing import SharedWeights, shared_weights
from lightning_compress.callbacks.hooks.collective import gather, shape_only
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.compression import GuidedPlan, checkpoint_at
from lightning_compress.errors import CompressionError
from lightning_compress.files import normalized_path
from lightning_compress.files.companion_names import companion_of
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import CheckpointRecord, Weights
from lightning_compress.weights.reading.checkpoint import Checkpoint

_log = logging.getLogger(__name__)


class ExportListener:
    """The part of a callback that listens to the checkpoints of its trainer. The callback sets the attributes.

    Attributes:
        classes: class name → patterns of tensor names.
        exclude: patterns of tensors to leave out.
    """

    classes: Mapping[str, str | Sequence[str]] | None
    exclude: tuple[str, ...]
    _policy: Policy
    _exports: Exports
    _guided: GuidedPlan | None  # how to compress; None if it is searched, or not known before the training starts
    _shared: SharedWeights | None = None  # those of the save that is under way, if all ranks compress them

    @property
    def plan(self) -> Plan | None:
        """How files are compressed; None if it is searched, or not known before the training starts."""
        return None if self._guided is None else self._guided.plan

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the companion files that this callback has written and that are there, the newest last; on rank 0.

        With ``background``, a file counts when it is complete.
        """
        return self._exports.written.paths

    @property
    def best_path(self) -> str:
        """The companion file of the checkpoint that a ``ModelCheckpoint`` calls best; empty if there is none."""
        return self._exports.written.best

    @property
    def last_path(self) -> str:
        """The companion file that was written last; empty if there is none."""
        return self._exports.written.last

    def weights_of(
        self, module: nn.Module, state: Mapping[str, Any], record: CheckpointRecord | None = None
    ) -> Weights:
        """The weights of a state dict as this callback compresses them.

        Args:
            module: the module they belong to.
            state: the state dict.
            record: what its checkpoint holds beside it.

        Raises:
            WeightsError: the state dict cannot be stored.
        """
        return Weights.from_state_dict(state, module=module, exclude=self.exclude, classes=self.classes, record=record)

    def weights_of_checkpoint(self, trainer: Trainer, module: nn.Module, checkpoint: Checkpoint) -> Weights:
        """The weights of a checkpoint that was saved.

        Raises:
            WeightsError: they cannot be stored.
        """
        record = CheckpointRecord.of_checkpoint(checkpoint.entries, ignore=not_of_module(trainer))
        return self.weights_of(module, checkpoint.state, record)

    def try_plan(self, module: nn.Module) -> None:
        """Assign the plan to the weights of a module before its training.

        Raises:
            CompressionError: the plan does not fit the module.
        """
        shapes = shape_only(module)
        if shapes is None:
            return
        try:
            with preserved_random_state():
                weights = self.weights_of(module, shapes)
                if self.plan:
                    self.plan.assign(weights)
        except CompressionError:
            raise
        except Exception as error:
            # A method of the module may need what only the training sets up; if it never works, the first export fails.
            _log.warning("the plan could not be tried on the model before the training: %r", error)

    def job_of_saved(self, trainer: Trainer, module: nn.Module, path: str) -> Job | None:
        """The job of a checkpoint that was saved; None where it has no companion file, or cannot be read."""
        if not is_archive(companion_of(path)):
            return None
        try:
            with preserved_random_state(), torch.no_grad():
                weights = self.weights_of_checkpoint(trainer, module, checkpoint_at(path))
        except Exception as error:
            _log.error("the file beside %s stays in half precision, since no search is possible: %s", path, error)
            return None
        self._exports.forget_latest()
        return export_job(trainer, weights, path, shows_progress=False)

    def before_save(self, trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> Job | None:
        """The job of a checkpoint that is about to be written, on rank 0; its tensors are gathered on every rank."""
        target = companion_of(path)
        if not self._policy.includes(trainer, path):
            return DeleteJob(target)  # a file of an earlier save with this name would hold other weights
        try:
            if self._guided and not self._exports.is_in_background:
                self._shared = shared_weights(trainer, checkpoint["state_dict"])
            if self._shared is not None:
                state = self._shared.state
                return self._shared.led(lambda: self._export_job(trainer, checkpoint, state, path))
            state = gather(trainer.strategy, checkpoint["state_dict"])
            return self._export_job(trainer, checkpoint, state, path) if trainer.is_global_zero else None
        except Exception as error:
            return FailedJob(target, error)

    def _export_job(
        self, trainer: Trainer, checkpoint: Mapping[str, Any], state: Mapping[str, Any], path: str
    ) -> ExportJob:
        with preserved_random_state(), torch.no_grad():
            record = CheckpointRecord.of_checkpoint(checkpoint, ignore=not_of_module(trainer))
            weights = self.weights_of(trainer.lightning_module, state, record)
        return export_job(trainer, weights, path, shows_progress=self.plan is not None)

    def _compress_as_given(self, guided: GuidedPlan, weights: Weights) -> Archive:
        """The archive of weights by a plan that is known: coded by all ranks if each has a shard of them."""
        if self._shared is None:
            return guided.compress(weights)
        return guided.compress_together(weights, self._shared.coded)

    def after_save(self, trainer: Trainer, job: Job | None) -> None:
        """Submit the job, now that the checkpoint is written."""
        try:
            self._exports.submit(trainer, job, self._shared)
        finally:
            self._shared = None

    def after_link(self, trainer: Trainer, target: str, link: str) -> None:
        """Link the companion file in the same way."""
        source, companion = companion_of(target), companion_of(link)
        if normalized_path(source) != normalized_path(companion):
            self._exports.submit(trainer, LinkJob(companion, source))

    def before_remove(self, trainer: Trainer, path: str) -> None:
        """Delete the companion file."""
        self._policy.removed(path)
        self._exports.delete(trainer, path)

    def load(self, trainer: Trainer, path: str) -> dict[str, Any] | None:
        """Read a compressed file that is given as a checkpoint."""
        return checkpoint_reading.read(trainer, path)

    def restore(self, trainer: Trainer, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Load the weights of a compressed file into the module."""
        return checkpoint_reading.restore(trainer.strategy, checkpoint, strict)

    # Lightning's hooks that conclude what was exported in the background

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Log and upload the files that were completed in the background."""
        self._exports.poll(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Likewise."""
        self._exports.poll(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Likewise."""
        self._exports.synchronize(trainer)

    def on_exception(self, trainer: Trainer, pl_module: nn.Module, exception: BaseException) -> None:
        """Wait for a limited time for exports in the background, after an error, an interrupt or SIGTERM."""
        self._exports.finish_after_exception(trainer)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Likewise, after a run that ended early without an exception."""
        self._exports.finish_after_exception(trainer)


def not_of_module(trainer: Trainer) -> list[str]:
    """Keys of a checkpoint under which other parts of the trainer store their state."""
    return [type(part).__qualname__ for part in (trainer.precision_plugin, getattr(trainer, "datamodule", None))]
