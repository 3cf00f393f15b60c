"""``LayerSensitivity``: how much each class of weights loses when it alone is compressed, during a training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_compress.callbacks.arguments import check_classes, check_number, check_texts, checked
from lightning_compress.callbacks.hooks import checkpoint_hooks
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.checkpoint_hooks import SavedState, SaveListener
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import Mode, folder_of_checkpoints
from lightning_compress.callbacks.hooks.shared_validation import led_by_rank_zero
from lightning_compress.callbacks.moments import Moment, Moments
from lightning_compress.callbacks.objective import Objective
from lightning_compress.callbacks.sensitivity_objective import SensitivityObjective
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.files import read_bytes, write_record
from lightning_compress.logging import log_sensitivity, logging_step
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import Calibration, Evaluate, LayerSensitivities, Strength, layer_sensitivities
from lightning_compress.search.sensitivity.layers import STRENGTHS, GroupBy, check_groups, strengths_of
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

FILE = "sensitivity.json"
_log = logging.getLogger(__name__)


class LayerSensitivity(SaveListener, _Callback):
    """Compress each class of weights alone, at several strengths, and measure what that costs.

    At the chosen moments each class is compressed, restored and loaded into the module, the module is measured, and the
    exact weights are restored. The result also has the bytes of each class, and two estimates that need no measurement,
    with their rank correlation with the measured drop. The training itself does not change: weights, optimizer, random
    numbers, metrics, steps and the order of the data are those of a run without the callback.

    The result goes to the loggers, to :attr:`result`, and to ``sensitivity.json`` beside the checkpoints
    (in ``default_root_dir`` if there are none); the newest replaces the one before. A failure is one line at level
    ERROR of the Python log, and the training continues.

    Args:
        strengths: what is done to a class: shares that are pruned (0 to 1), methods such as ``Interval(4)``, or
            :class:`~lightning_compress.search.Strength`.
        groups: what is compressed at a time: ``"class"``, ``"tensor"``, group → pattern or patterns of tensor names, or
            a function from a weight (``name``, ``class_name``, ``tensor``) to the name of its group, None for none.
        when: ``"end"`` of ``fit``, each ``"save"`` of a checkpoint, each ``"best"`` save, a whole number n for every n
            epochs, or several of these.
        measure: ``"loss"``, or the name of a metric that the validation logs. By default the loss while training, and
            at the end of ``fit`` the metric of the trainer's ``ModelCheckpoint``.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is; by default that of the ``ModelCheckpoint`` that
            monitors the metric, and ``"min"`` for a metric with "loss" in its name.
        batches: how many batches of each validation loader, or of the calibration, are taken for each measurement, the
            first ones each time; None for all.
        tolerance: the largest drop that counts as keeping the score, in its own unit; a hundredth of the score by
            default.
        evaluate: module → score, higher is better unless ``mode="min"``; in place of the trainer's validation.
        calibration: batches and their loss, as for :func:`~lightning_compress.smallest`; in place of the validation
            batches, and for the gradients of one of the estimates.
        classes: class name → patterns of tensor names, over the derived classes.
        exclude: patterns of tensors to leave out.

    Attributes:
        result: the newest measurement on this process; None before the first.

    Raises:
        CallbackError: an argument is wrong.
    """

    def __init__(
        self,
        strengths: Iterable[Any] = STRENGTHS,
        *,
        groups: GroupBy = "class",
        when: Moment | Sequence[Moment] = "end",
        measure: str | None = None,
        mode: Mode | None = None,
        batches: int | None = 32,
        tolerance: float | None = None,
        evaluate: Evaluate | None = None,
        calibration: Calibration | None = None,
        classes: Mapping[str, str | Sequence[str]] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        checked(check_groups, groups)
        check_number("tolerance", tolerance, optional=True)
        check_classes(classes)
        check_texts("exclude", exclude, "patterns of tensor names such as ['teacher.*']")
        objective = Objective(measure, mode, evaluate, argument="measure", batches=batches)
        self.strengths: tuple[Strength, ...] = checked(strengths_of, strengths)
        self.groups = groups
        self.moments = Moments.measurement(when)
        self.objective = SensitivityObjective(objective, calibration)
        self.tolerance = tolerance
        self.classes = classes
        self.exclude = tuple(exclude)
        self.result: LayerSensitivities | None = None
        self._is_possible = True  # in the present trainer
        self._latest = ("", "")  # fingerprint of the weights measured last, and the name of the measure

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Attach to the trainer's saves."""
        if stage == "fit" and self.moments.saves:
            checkpoint_hooks.attach(trainer, self)

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Say before the first step if nothing can be measured in this trainer; the training goes on."""
        try:
            self._check(trainer)
            self._is_possible = True
        except CallbackError as error:
            self._is_possible = False
            if trainer.is_global_zero:
                _log.error("the sensitivity of layers is not measured, the training goes on: %s", error)

    def _check(self, trainer: Trainer) -> None:
        if is_sharded(trainer):
            raise CallbackError(
                "LayerSensitivity swaps weights in the module, which is sharded here: leave it out, and measure a "
                "checkpoint afterwards with lightning_compress.search.layer_sensitivities"
            )
        self.objective.check_trainer(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Measure after every n epochs."""
        if self.moments.is_after(trainer.current_epoch):
            self._measure_together(trainer, None, is_end=False)

    def on_train_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Measure at the end."""
        if self.moments.end:
            self._measure_together(trainer, None, is_end=True)

    # Listener of the trainer's checkpoints

    def before_save(self, trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> SavedState | None:
        """The weights of a checkpoint that is about to be written, if they are to be measured."""
        if trainer.state.fn != "fit" or not self.moments.includes(trainer, path):
            return None
        return SavedState(checkpoint["state_dict"], path)

    def after_save(self, trainer: Trainer, job: SavedState | None) -> None:
        """Measure the weights, now that the checkpoint is written."""
        if job is not None:
            self._measure_together(trainer, job.state, is_end=False)

    # Measuring, led by rank 0

    def _measure_together(self, trainer: Trainer, state: Mapping[str, Any] | None, *, is_end: bool) -> None:
        """Measure a state dict, or the live module; the other ranks help to validate. A failure is logged."""
        if not self._is_possible:
            return

        def measure() -> None:
            try:
                with preserved_random_state():
                    self._measure(trainer, trainer.lightning_module.state_dict() if state is None else state, is_end)
            except CompressionError as error:
                _log.error("the sensitivity of layers was not measured, the training goes on: %s", error)
            except Exception as error:
                _log.error("the sensitivity of layers was not measured, the training goes on: %r", error)

        led_by_rank_zero(trainer, measure)

    def _measure(self, trainer: Trainer, state: Mapping[str, Any], is_end: bool) -> None:
        metric, calibration = self.objective.resolve(trainer, is_end=is_end)
        module = trainer.lightning_module
        with torch.no_grad():
            weights = Weights.from_state_dict(state, module=module, exclude=self.exclude, classes=self.classes)
        if self._latest == (weights.fingerprint, metric.name):  # a checkpoint is saved twice, as best and as last
            return
        result = layer_sensitivities(
            module,
            metric.evaluate,
            self.strengths,
            groups=self.groups,
            measure=metric.name,
            higher_is_better=metric.higher_is_better,
            calibration=calibration,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self.result = replace(result, step=int(trainer.global_step))
        self._latest = (weights.fingerprint, metric.name)
        log_sensitivity(
            trainer.loggers, self.result, logging_step(trainer), self.tolerance, epoch=trainer.current_epoch
        )
        _write(folder_of_checkpoints(trainer), self.result.to_json(self.tolerance))


def _write(folder: str, text: str) -> None:
    """Write the file, unless another program's file has that name; a failure is logged."""
    path = f"{folder.rstrip('/')}/{FILE}"
    try:
        write_record(path, text, _is_ours)
    except (CompressionError, OSError) as error:
        _log.error("the sensitivity of layers was not written, the training goes on: %s", error)


def _is_ours(path: str) -> bool:
    try:
        LayerSensitivities.from_json(bytes(read_bytes(path)).decode())
    except (CompressionError, OSError, UnicodeDecodeError):
        return False
    return True
