"""What ``LayerSensitivity`` measures: a loss on batches, or an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_compress.callbacks.arguments import check_calibration, check_whole_number
from lightning_compress.callbacks.hooks.batch_losses import LoggedLoss, OwnLoss, has_loss, mean_loss
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import Mode, monitored_metrics
from lightning_compress.callbacks.objective import LOSS, Metric, Objective
from lightning_compress.errors import CallbackError
from lightning_compress.search import Calibration


@dataclass(frozen=True)
class SensitivityObjective:
    """An objective, or the loss, and the batches that gradients are taken of.

    Attributes:
        objective: its ``monitor`` is ``"loss"``, the name of a metric, or None: the loss during training, and at the
            end of ``fit`` the metric that a ``ModelCheckpoint`` monitors.
        calibration: batches and their loss, instead of the validation batches.

    Raises:
        CallbackError: an argument is wrong.
    """

    objective: Objective
    calibration: Calibration | None

    def __post_init__(self) -> None:
        check_whole_number("batches", self.objective.batches, 1, optional=True)
        check_calibration(self.calibration)
        if self.objective.monitor == LOSS and self.objective.mode == "max" and self.objective.evaluate is None:
            raise CallbackError("mode='max' contradicts measure='loss', of which less is better: leave mode out")

    def check_trainer(self, trainer: Trainer) -> None:
        """Refuse a trainer with several processes that cannot validate together, if that is needed.

        Raises:
            CallbackError: there are such processes, and neither ``evaluate`` nor a loss of batches on rank 0.
        """
        has_batch_loss = self.calibration is not None or has_loss(trainer.lightning_module)
        if trainer.world_size > 1 and not (self.objective.monitor in (None, LOSS) and has_batch_loss):
            self.objective.check_trainer(trainer)

    def resolve(self, trainer: Trainer, *, is_end: bool) -> tuple[Metric, Calibration | None]:
        """The metric to measure now, and the batches and their loss for gradients; None if no loss is known.

        Args:
            trainer: in its present state.
            is_end: whether ``fit`` ends.

        Raises:
            CallbackError: no loss is found, or the mode of a metric is not known.
        """
        objective, monitored = self.objective, monitored_metrics(trainer)
        is_alone, logged_loss = trainer.world_size == 1, logged_loss_of(trainer)
        calibration = self.calibration
        if calibration is None and has_loss(trainer.lightning_module):
            calibration = OwnLoss(trainer, objective.batches)
        if objective.evaluate is None and self._is_loss(monitored, is_end) and calibration is not None:
            return Metric(LOSS, "min", mean_loss(calibration, objective.batches)), calibration
        if calibration is None and logged_loss is not None and is_alone:
            calibration = LoggedLoss(trainer, objective.batches, logged_loss)
        if objective.evaluate is not None or not self._is_loss(monitored, is_end):
            return objective.resolve(trainer), calibration
        if logged_loss is None:
            raise CallbackError(
                f"the validation logs no loss, only {', '.join(sorted(trainer.callback_metrics)) or 'nothing'}: "
                "give measure='…', the name of a metric, evaluate=…, or calibration=…"
            )
        return objective.validation_metric(trainer, logged_loss), calibration

    def _is_loss(self, monitored: Mapping[str, Mode], prefers_monitored: bool) -> bool:
        return self.objective.monitor == LOSS or (
            self.objective.monitor is None and not (prefers_monitored and monitored)
        )


def logged_loss_of(trainer: Trainer) -> str | None:
    """The name under which the validation has logged a loss; None if it has not."""
    found = [str(n) for n in trainer.callback_metrics if LOSS in n.lower() and n.lower().startswith("val")]
    return "val_loss" if "val_loss" in found else min(found, key=len, default=None)
