"""The step at which Lightning logs, and the metric under which a wandb run stores that step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lightning_compress.logging.logger_types import LightningLogger, lightning_classes


class SteppingTrainer(Protocol):
    """The part of a trainer that counts."""

    @property
    def global_step(self) -> int:
        """The number of optimizer steps."""

    @property
    def validating(self) -> bool:
        """Whether it validates on its own, outside of a training."""


def logging_step(trainer: SteppingTrainer) -> int:
    """The step that Lightning gives to metrics logged now, so that ours are stored at the same step.

    It is the number of batches after which an optimizer stepped; several optimizers of a batch count once. Lightning
    increments its counter after the validation that follows a batch. At the end of an epoch and at the end of a run the
    batch that the metrics belong to is already counted, so 1 is subtracted. The counter is a protected attribute;
    ``trainer.global_step`` is returned where it is missing.
    """
    loop: Any = getattr(trainer, "fit_loop", None)  # Any: of Lightning, with protected attributes
    loop = getattr(loop, "epoch_loop", None)
    counted = getattr(loop, "_batches_that_stepped", None)
    if counted is None:
        return int(trainer.global_step)
    progress = loop.batch_progress.current
    is_counted = progress.completed == progress.processed and not trainer.validating
    return max(0, int(counted) - is_counted)


def step_metric_of(logger: LightningLogger) -> str | None:
    """The name under which a ``WandbLogger`` logs the step, beside each metric.

    Lightning has renamed it, so it is read from what the logger sends: ``log_metrics`` of Lightning's class is called
    without metrics, on an object with this logger's settings whose run only records.

    Returns:
        The name; None for any other logger, and where the logger sends no step (``sync_tensorboard=True``).
    """
    for wandb_logger in lightning_classes("wandb", "WandbLogger"):
        if isinstance(logger, wandb_logger):
            return _logged_step_name(wandb_logger, vars(logger))
    return None


def _logged_step_name(logger_class: type, settings: Mapping[str, Any]) -> str | None:
    run = _RecordingRun()
    recording_class = type("RecordingLogger", (logger_class,), {"experiment": property(lambda _: run)})
    recorder: Any = object.__new__(recording_class)  # the constructor is not called
    vars(recorder).update(settings)
    recorder.log_metrics({}, step=0)
    return next(iter(run.logged), None)


class _RecordingRun:
    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    def log(self, values: Mapping[str, Any], **_: object) -> None:
        self.logged.update(values)
