"""``LayerSensitivity``: which layers cost the score, measured while a training runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from lightning_compress import files
from lightning_compress.callbacks.export import companion_files
from lightning_compress.callbacks.export.naming import is_temporary
from lightning_compress.callbacks.hooks import checkpoint_hooks as seam
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.collective import is_sharded, on_rank_zero
from lightning_compress.callbacks.measure import Measure, Wishes
from lightning_compress.callbacks.moments import Moments
from lightning_compress.callbacks.monitored import Mode
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.files import read_bytes
from lightning_compress.logging import log_sensitivity, logging_step
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import (
    Calibration,
    Evaluate,
    LayerSensitivities,
    Strength,
    layer_sensitivities,
)
from lightning_compress.search.sensitivity.layers import STRENGTHS, GroupBy, check_groups, strengths_of
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

FILE = "sensitivity.json"
When = Literal["end", "save"] | int
_log = logging.getLogger(__name__)


class LayerSensitivity(seam.SaveListener, _Callback):
    """Compress each class of weights alone, at several strengths, and measure what that costs.

    At the chosen moments each class is compressed, restored and swapped into the module, the module is measured, and
    the exact weights come back. Beside what is measured stand the bytes of the class and two estimates that need no
    measurement, with their rank correlation with it. The training itself is not changed: weights, optimizer, random
    numbers, metrics, steps and the order of the data are those of a run without the callback.

    The result goes to the loggers, to :attr:`result`, and to ``sensitivity.json`` beside the checkpoints
    (``default_root_dir`` where there are none), where the newest replaces the one before. What goes wrong is one line
    at level ERROR of the Python log, and the training goes on.

    Args:
        strengths: what is done to a class: shares that are pruned (0 to 1), methods such as ``Interval(4)``, or
            :class:`~lightning_compress.search.Strength`.
        groups: what is compressed at a time: ``"class"``, ``"tensor"``, group → pattern or patterns of tensor names, or
            a function from a weight (``name``, ``class_name``, ``tensor``) to the name of its group, None for none.
        when: ``"end"`` of ``fit``, each ``"save"`` of a checkpoint, a number n for every n epochs, or several of these.
        measure: ``"loss"``, or the name of a metric that the validation logs. By default the loss while training, and
            at the end of ``fit`` the metric of the trainer's ``ModelCheckpoint``.
        mode: ``"max"`` where more of the metric is better, ``"min"`` where less is; as the ``ModelCheckpoint`` that
            monitors it says by default.
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
        CallbackError: an argument is not known; or, when ``fit`` starts, the module is sharded, or several processes
            would have to run the module's own validation.
        SearchError: ``strengths`` or ``groups`` are of no use.
        PlanError: a strength is out of range.
    """

    def __init__(
        self,
        strengths: Iterable[Any] = STRENGTHS,
        *,
        groups: GroupBy = "class",
        when: When | Sequence[When] = "end",
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
        check_groups(groups)
        self.strengths: tuple[Strength, ...] = strengths_of(strengths)
        self.groups = groups
        self.moments = Moments.of(when)
        self.wishes = Wishes(measure, mode, evaluate, calibration, batches)
        if tolerance is not None and not (isinstance(tolerance, (int, float)) and tolerance >= 0):
            raise CallbackError(f"tolerance is {tolerance!r}, expected a number from 0, or None")
        self.tolerance = tolerance
        self.classes = classes
        self.exclude = tuple(exclude)
        self.result: LayerSensitivities | None = None
        self._newest = ("", "")  # fingerprint of the weights measured last, and by what

    # Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begin to hear of checkpoints that are saved."""
        if stage == "fit" and self.moments.save:
            seam.attach(trainer, self)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a trainer in which nothing can be measured, before the first step."""
        if is_sharded(trainer):
            raise CallbackError(
                "LayerSensitivity swaps weights in the module, which is sharded here: leave it out, and measure a "
                "checkpoint afterwards with lightning_compress.search.layer_sensitivities"
            )
        self.wishes.check(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure where n epochs are over."""
        if self.moments.is_after(trainer.current_epoch):
            self._attempt(trainer, pl_module.state_dict, is_over=False)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure at the end."""
        if self.moments.end:
            self._attempt(trainer, pl_module.state_dict, is_over=True)

    # What the seam tells

    def saving(self, strategy: Any, checkpoint: Mapping[str, Any], path: str) -> Callable[[], None]:
        """Keep hold of the weights of a checkpoint about to be written, and measure them once it is."""
        trainer = seam.trainer_of(strategy)
        if is_temporary(path) or "state_dict" not in checkpoint or trainer.state.fn != "fit":
            return lambda: None
        state = checkpoint["state_dict"]
        return lambda: self._attempt(trainer, lambda: state, is_over=False)

    # The work, on rank 0

    def _attempt(self, trainer: Any, state: Callable[[], Mapping[str, Any]], *, is_over: bool) -> None:
        """Measure on rank 0, while the other processes wait; what fails there is logged."""

        def attempt() -> None:
            try:
                with preserved_random_state():
                    self._measure(trainer, state(), self.wishes.resolve(trainer, is_over=is_over))
            except CompressionError as error:
                _log.error("the sensitivity of layers was not measured, the training goes on: %s", error)
            except Exception as error:
                _log.error("the sensitivity of layers was not measured, the training goes on: %r", error)

        on_rank_zero(trainer.strategy, attempt)

    def _measure(self, trainer: Any, state: Mapping[str, Any], measure: Measure) -> None:
        module = trainer.lightning_module
        with torch.no_grad():
            weights = Weights.from_state_dict(state, module=module, exclude=self.exclude, classes=self.classes)
        if self._newest == (weights.fingerprint, measure.name):  # a checkpoint that is saved twice, as best and as last
            return
        result = layer_sensitivities(
            module,
            measure.evaluate,
            self.strengths,
            groups=self.groups,
            measure=measure.name,
            higher_is_better=measure.higher_is_better,
            calibration=measure.calibration,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self.result = replace(result, step=int(trainer.global_step))
        self._newest = (weights.fingerprint, measure.name)
        log_sensitivity(trainer.loggers, self.result, logging_step(trainer), self.tolerance)
        _write(companion_files.folder_of_checkpoints(trainer), self.result.to_json(self.tolerance))


def _write(folder: str, text: str) -> None:
    """Write the file; another program's file of that name stays, and what fails is logged."""
    path = f"{folder.rstrip('/')}/{FILE}"
    try:
        files.write_record(path, text, _is_ours)
    except (CompressionError, OSError) as error:
        _log.error("the sensitivity of layers was not written, the training goes on: %s", error)


def _is_ours(path: str) -> bool:
    try:
        LayerSensitivities.from_json(bytes(read_bytes(path)).decode())
    except (CompressionError, OSError, UnicodeDecodeError):
        return False
    return True
