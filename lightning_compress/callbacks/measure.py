"""What a callback measures a trainer's module by: a loss, a metric of its validation, or a function of the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from lightning_compress.callbacks.hooks.batch_losses import LoggedLoss, OwnLoss, has_loss, mean_loss
from lightning_compress.callbacks.hooks.validation import validated
from lightning_compress.callbacks.monitored import Mode, monitored
from lightning_compress.errors import CallbackError
from lightning_compress.search import Calibration, Evaluate

LOSS = "loss"


@dataclass(frozen=True)
class Measure:
    """A way to score the module of a trainer.

    Attributes:
        name: of what is measured.
        higher_is_better: whether more of it is better.
        evaluate: module → its value.
        calibration: batches and their loss, for gradients; None where no loss is known.
    """

    name: str
    higher_is_better: bool
    evaluate: Evaluate
    calibration: Calibration | None


@dataclass(frozen=True)
class Wishes:
    """What the user said of it.

    Attributes:
        measure: ``"loss"``, or the name of a metric; None where the moment decides.
        mode: whether more of it is better; None where a ``ModelCheckpoint`` or its name tells.
        evaluate: module → value; instead of the trainer's validation.
        calibration: batches and their loss; instead of the validation batches.
        batches: how many batches are taken at most.

    Raises:
        CallbackError: an argument is not known.
    """

    measure: str | None
    mode: Mode | None
    evaluate: Evaluate | None
    calibration: Calibration | None
    batches: int | None

    def __post_init__(self) -> None:
        if self.mode not in (None, *get_args(Mode)):
            raise CallbackError(f"mode={self.mode!r} is not known: write 'min' or 'max'")
        if self.measure is not None and not (isinstance(self.measure, str) and self.measure):
            raise CallbackError(
                f"measure is {self.measure!r}, expected 'loss' or the name of a metric such as 'val_bleu'"
            )
        if self.batches is not None and not (type(self.batches) is int and self.batches > 0):
            raise CallbackError(f"batches is {self.batches!r}, expected a whole number from 1, or None for all")
        if self.evaluate is not None and not callable(self.evaluate):
            raise CallbackError(f"evaluate is {self.evaluate!r}, expected a function: module → score")
        if self.calibration is not None and not callable(getattr(self.calibration, "loss", None)):
            raise CallbackError(
                f"calibration is a {type(self.calibration).__name__} without loss(module, batch): give it that method"
            )

    def check(self, trainer: Any) -> None:
        """Refuse a trainer in which one process alone cannot measure this.

        Raises:
            CallbackError: several processes, and the module's own validation is needed.
        """
        is_loss = self.measure in (None, LOSS) and (self.calibration is not None or has_loss(trainer.lightning_module))
        if trainer.world_size > 1 and self.evaluate is None and not is_loss:
            raise CallbackError(
                f"the trainer's own validation cannot run on one of {trainer.world_size} processes alone: give "
                "evaluate=…, or measure='loss' with calibration=… or a module that has loss(batch); each is called on "
                "rank 0"
            )

    def resolve(self, trainer: Any, *, is_over: bool) -> Measure:
        """The measure for a moment of a training.

        Args:
            trainer: as it stands.
            is_over: whether ``fit`` is at its end, where the metric that checkpoints are chosen by is taken.

        Raises:
            CallbackError: no loss is found, or whether more of a metric is better is not known.
        """
        known = monitored(trainer)
        is_alone, loss = trainer.world_size == 1, _logged_loss(trainer)
        calibration = self.calibration
        if calibration is None and has_loss(trainer.lightning_module):
            calibration = OwnLoss(trainer, self.batches)
        if self.evaluate is None and self._is_loss(known, is_over and is_alone) and calibration is not None:
            return Measure(LOSS, False, mean_loss(calibration, self.batches), calibration)
        if calibration is None and loss is not None and is_alone:
            calibration = LoggedLoss(trainer, self.batches, loss)
        if self.evaluate is not None:
            return Measure(self.measure or "score", self.mode != "min", self.evaluate, calibration)
        name = loss if self._is_loss(known, is_over) else self.measure or next(iter(known))
        if name is None:
            raise CallbackError(
                f"no loss of a validation is logged, only {', '.join(sorted(trainer.callback_metrics)) or 'nothing'}: "
                "give measure='…', the name of a metric, evaluate=…, or calibration=…"
            )
        mode = self.mode or known.get(name) or ("min" if LOSS in name.lower() else None)
        if mode is None:
            raise CallbackError(
                f"whether more of {name!r} is better is not known, no ModelCheckpoint monitors it: give mode='max' or "
                "mode='min'"
            )
        evaluate = partial(validated, trainer, monitor=name, batches=self.batches)
        return Measure(name, mode == "max", evaluate, calibration)

    def _is_loss(self, known: Mapping[str, Any], takes_known: bool) -> bool:
        return self.measure == LOSS or (self.measure is None and not (takes_known and known))


def _logged_loss(trainer: Any) -> str | None:
    """The name under which the validation has logged a loss; None where it has not."""
    found = [str(n) for n in trainer.callback_metrics if LOSS in n.lower() and n.lower().startswith("val")]
    return "val_loss" if "val_loss" in found else min(found, key=len, default=None)
