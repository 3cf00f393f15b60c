"""``CompressCheckpoint``: a compressed file beside every checkpoint that Lightning saves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.callbacks.arguments import (
    check_choice,
    check_classes,
    check_flag,
    check_texts,
)
from lightning_compress.callbacks.export.auto.arguments import auto_of
from lightning_compress.callbacks.export.auto.searched_plans import EFFORT, SEARCH_AT, SearchAt
from lightning_compress.callbacks.export.background.queue import WhenFull
from lightning_compress.callbacks.export.exporter import Exporter
from lightning_compress.callbacks.export.exports import Exports, OnError
from lightning_compress.callbacks.export.jobs import Job
from lightning_compress.callbacks.export.listener import ExportListener
from lightning_compress.callbacks.export.policy import Policy, When, tell_if_nothing_is_saved
from lightning_compress.callbacks.export.publishing import Publishing
from lightning_compress.callbacks.export.resumption import resume
from lightning_compress.callbacks.export.trained import TRAINED, quantized_training
from lightning_compress.callbacks.hooks import checkpoint_hooks
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.callbacks.hooks.model_checkpoints import Mode, best_checkpoints
from lightning_compress.callbacks.moments import Moments
from lightning_compress.callbacks.objective import Objective
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError
from lightning_compress.logging import Artifacts
from lightning_compress.plan import DEFAULT_PLAN, Plan
from lightning_compress.search import ASSURED, CalibrationData
from lightning_compress.weights import Weights
from lightning_compress.weights.reading.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

_log = logging.getLogger(__name__)


class CompressCheckpoint(ExportListener, _Callback):
    """Write a compressed, verified file beside every checkpoint, and let it follow that checkpoint.

    ``epoch=3.ckpt`` gets the companion file ``epoch=3.compressed.safetensors`` in the same folder. When Lightning
    overwrites, links or deletes the checkpoint, the callback does the same to the companion file. The training itself
    does not change: weights, optimizer, random numbers, metrics and steps are those of a run without the callback. A
    file of another program is neither overwritten nor deleted.

    Args:
        plan: how to compress: a :class:`~lightning_compress.Plan`, a preset (``"safe"`` keeps 16 bits of each weight)
            or the path of a YAML file; ``"trained"``: as ``QuantizeDuringTraining`` beside it quantizes; or ``"auto"``:
            the smallest file that loses at most ``max_drop`` of a score is searched.
        when: which checkpoints have a companion file: ``"all"``; ``"best"``, those that Lightning calls best;
            ``"last"``, the newest.
        on_error: what happens when an export fails: ``"warn"`` logs one line with the path, and the training continues;
            ``"raise"`` ends the training, on every rank.
        classes: class name → patterns of tensor names, over the derived classes.
        exclude: patterns of tensors to leave out, beside those of the module's ``compression_exclude()``.
        evaluate: with ``"auto"``, module → score, higher is better, a number or a :class:`~lightning_compress.Score`;
            the trainer's own validation of ``monitor`` by default.
        monitor: with ``"auto"``, the metric that the validation logs; that of the trainer's ``ModelCheckpoint`` by
            default.
        mode: with ``"auto"``, ``"max"`` if higher is better, ``"min"`` if lower is; by default that of the
            ``ModelCheckpoint`` that monitors the metric.
        max_drop: with ``"auto"``, the largest drop of the score that is allowed: a number in the unit of the score, or
            a share of the score of the exact weights such as ``"1%"``. Required, unless the metric has BLEU in its
            name: then it is ``"1%"``.
        calibration: with ``"auto"``, batches with their loss or the module's outputs, as for
            :func:`~lightning_compress.smallest`: the search uses them, and each later file is guided by what they
            measure of its weights.
        assured: with ``"auto"``, the probability, 0.5 to below 1, that a file loses at most ``max_drop`` on other text
            like that of the score.
        confirm: with ``"auto"``, module → value of items that the score does not read, in the same unit: the file of a
            search is tested on them. True sets a third of the score's items apart where it has statistics of 2,000 or
            more and a third of them can tell; False does not.
        search_at: with ``"auto"``, when to search. ``"end"``: once, when the training ends, for the best checkpoint;
            until then companion files are in half precision. ``"first"``: at the first checkpoint, and again when a
            later one loses more with the plan found. ``"every"``: at every checkpoint.
        effort: with ``"auto"``, ``"quick"``, ``"default"`` or ``"thorough"``.
        artifacts: whether each file becomes a version of an artifact of Weights & Biases: False, True, or
            :class:`~lightning_compress.Artifacts` to say which versions stay.
        pictures: whether charts are drawn for the loggers that hold pictures; needs matplotlib.
        background: None: the training waits for each export. Otherwise it waits only while its weights are copied in
            main memory, and a worker process writes the file. At most one export waits beside the one in work, so main
            memory holds up to two copies of the weights. What happens when more are to wait: ``"wait"``, the training
            waits; ``"skip"``, the new checkpoint has no companion file; ``"latest"``, the one that waits has none. The
            end of ``fit`` waits for all exports. Not with ``"auto"``, whose search evaluates the module itself.

    Raises:
        PlanError: the plan is invalid; or, when ``fit`` starts, it does not fit the model, whatever ``on_error`` is.
        CallbackError: an argument is wrong; or, when a run starts, ``when="best"`` without a
            ``ModelCheckpoint``, a second ``CompressCheckpoint`` in the same trainer, or ``"auto"`` without a score.
    """

    def __init__(
        self,
        plan: Plan | str | PathLike[str] = DEFAULT_PLAN,
        *,
        when: When = "all",
        on_error: OnError = "warn",
        classes: Mapping[str, str | Sequence[str]] | None = None,
        exclude: Sequence[str] = (),
        evaluate: Callable[[Any], Any] | None = None,
        monitor: str | None = None,
        mode: Mode | None = None,
        max_drop: float | str | None = None,
        calibration: CalibrationData | None = None,
        effort: Literal["quick", "default", "thorough"] = EFFORT,
        assured: float = ASSURED,
        confirm: Callable[[Any], Any] | bool = True,
        search_at: SearchAt = SEARCH_AT,
        artifacts: Artifacts | bool = False,
        pictures: bool = True,
        background: Literal["wait", "skip", "latest"] | None = None,
    ) -> None:
        super().__init__()
        check_choice("on_error", on_error, get_args(OnError))
        check_classes(classes)
        check_texts("exclude", exclude, "patterns of tensor names such as ['teacher.*']")
        check_flag("pictures", pictures)
        check_choice("background", background, get_args(WhenFull), optional=True)
        if not isinstance(artifacts, (bool, Artifacts)):
            raise CallbackError(f"artifacts is {artifacts!r}, expected True, False or Artifacts(…)")
        self._auto = auto_of(
            plan,
            Objective(monitor, mode, evaluate),
            max_drop,
            calibration=calibration,
            effort=effort,
            assured=assured,
            confirm=confirm,
            search_at=search_at,
            background=background,
        )
        self.is_trained = plan == TRAINED
        self._guided = None if self._auto or self.is_trained else GuidedPlan(Plan.resolve(plan))
        self.when, self.on_error, self.background = when, on_error, background
        self.classes, self.exclude = classes, tuple(exclude)
        self._policy, self._publishing = Policy(Moments.policy(when)), Publishing(artifacts, pictures)
        measure = self._auto.measure if self._auto else None
        self._exports = Exports(Exporter(self._compress, self._policy), self._publishing, on_error, measure)
        self._is_in_order = False  # whether the folders of this run were put in order when it started

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Attach to the trainer's checkpoints, saved and loaded ones."""
        same = [callback for callback in callbacks_of(trainer) if isinstance(callback, CompressCheckpoint)]
        if len(same) > 1:
            raise CallbackError(
                f"the trainer has {len(same)} CompressCheckpoint callbacks, which write the same files: keep one"
            )
        checkpoint_hooks.attach(trainer, self)
        if self._auto:
            self._auto.attach(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Raise errors that are known before the first step."""
        self._policy.check(trainer)
        tell_if_nothing_is_saved(trainer)
        if self._auto:
            self._auto.check(trainer)
        elif self.is_trained:
            quantized_training(trainer)
        self.try_plan(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Include the files of the run that is resumed; Lightning has now read which they are."""
        if self.is_trained:
            self._guided = quantized_training(trainer).guided_plan
        self._policy.start(trainer)
        self._resume(trainer, pl_module)
        if self._guided and self.background:
            self._exports.start_background(trainer, self._guided, self.background)
        if self._auto:
            self._auto.start(str(trainer.ckpt_path or "") if trainer.is_global_zero else "")
        self._publishing.start(trainer, self.plan.to_config() if self.plan else {"search": "auto"})

    def _resume(self, trainer: Trainer, module: nn.Module) -> None:
        """Put the folders of the run in order."""
        self._is_in_order = True

        def compressed(checkpoint: Checkpoint) -> Archive:
            return self._compress(self.weights_of_checkpoint(trainer, module, checkpoint))

        resume(trainer, self._policy, compressed if self.plan else None, self.on_error)

    def on_train_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """With a search at the end, search for the best checkpoints, whose companion files are replaced."""
        if self._auto is None or not self._auto.is_provisional:
            return
        self._auto.is_provisional = False
        for path in trainer.strategy.broadcast(sorted(best_checkpoints(trainer)), src=0):
            job = self.job_of_saved(trainer, pl_module, path) if trainer.is_global_zero else None
            self._exports.submit(trainer, job)
            self._auto.end_if_interrupted(trainer)

    def after_save(self, trainer: Trainer, job: Job | None) -> None:
        """Submit the job, now that the checkpoint is written."""
        super().after_save(trainer, job)
        if self._auto:
            self._auto.end_if_interrupted(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Measure how long it takes, since a search takes many."""
        if self._auto:
            self._auto.validation_starts(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Likewise; if ``on_error`` says so, raise on every rank the error of an export."""
        if self._auto:
            self._auto.cost.end()
        self._exports.synchronize(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Wait for a limited time until exports and uploads are complete."""
        if not self._is_in_order:  # the run resumed at its end, so no training has started
            self._resume(trainer, pl_module)
        self._is_in_order = False
        self._exports.finish(trainer)
        self._publishing.finish()

    # For callbacks that evaluate companion files

    def archive_of(self, weights: Weights) -> Archive | None:
        """The companion file written last, if it holds these weights; else the result of the given plan.

        Pending exports are waited for. None with a searched plan whose last file holds other weights: only a search can
        make one.
        """
        known = self._exports.latest_archive(weights)
        return self._guided.compress(weights) if known is None and self._guided else known

    def _compress(self, weights: Weights) -> Archive:
        if self._guided:
            return self._compress_as_given(self._guided, weights)
        if self._auto is None:
            raise CallbackError("plan='trained' is known when a training starts, and none has started")
        return self._auto.compress(weights)
