"""The listener that turns each save, link and deletion of a checkpoint into a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lightning_compress.callbacks.export import checkpoint_reading
from lightning_compress.callbacks.export.exports import Exports, export_job
from lightning_compress.callbacks.export.jobs import DeleteJob, FailedJob, Job, LinkJob
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.callbacks.hooks.collective import gather
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.files import normalized_path
from lightning_compress.files.companion_names import companion_of
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import CheckpointRecord, Weights


class ExportListener:
    """The part of a callback that listens to the checkpoints of its trainer. The callback sets the attributes.

    Attributes:
        plan: how to compress; None if it is searched.
        classes: class name → patterns of tensor names.
        exclude: patterns of tensors to leave out.
    """

    plan: Plan | None
    classes: Mapping[str, str | Sequence[str]] | None
    exclude: tuple[str, ...]
    _policy: Policy
    _exports: Exports

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

    def before_save(self, trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> Job | None:
        """The job of a checkpoint that is about to be written, on rank 0; its tensors are gathered on every rank."""
        target = companion_of(path)
        if not self._policy.includes(trainer, path):
            return DeleteJob(target)  # a file of an earlier save with this name would hold other weights
        try:
            state = gather(trainer.strategy, checkpoint["state_dict"])
            if not trainer.is_global_zero:
                return None
            with preserved_random_state(), torch.no_grad():
                record = CheckpointRecord.of_checkpoint(checkpoint, ignore=not_of_module(trainer))
                weights = self.weights_of(trainer.lightning_module, state, record)
            return export_job(trainer, weights, path, shows_progress=self.plan is not None)
        except Exception as error:
            return FailedJob(target, error)

    def after_save(self, trainer: Trainer, job: Job | None) -> None:
        """Submit the job, now that the checkpoint is written."""
        self._exports.submit(trainer, job)

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


def not_of_module(trainer: Trainer) -> list[str]:
    """Keys of a checkpoint under which other parts of the trainer store their state."""
    return [type(part).__qualname__ for part in (trainer.precision_plugin, getattr(trainer, "datamodule", None))]
