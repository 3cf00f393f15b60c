"""``CompressCheckpoint``: a compressed file beside every checkpoint that Lightning saves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.callbacks.arguments import (
    check_calibration,
    check_choice,
    check_classes,
    check_flag,
    check_number,
    check_texts,
    checked,
)
from lightning_compress.callbacks.export import checkpoint_reading
from lightning_compress.callbacks.export.auto import Auto
from lightning_compress.callbacks.export.background.queue import WhenFull
from lightning_compress.callbacks.export.exporter import Exporter
from lightning_compress.callbacks.export.exports import Exports, OnError, export_job
from lightning_compress.callbacks.export.jobs import DeleteJob, FailedJob, Job, LinkJob
from lightning_compress.callbacks.export.naming import companion_of
from lightning_compress.callbacks.export.policy import Policy, When
from lightning_compress.callbacks.export.publishing import Publishing
from lightning_compress.callbacks.export.resumption import Resumption
from lightning_compress.callbacks.hooks import checkpoint_hooks
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.collective import gather, raise_on_every_rank, shape_only
from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.callbacks.hooks.model_checkpoints import Mode
from lightning_compress.callbacks.moments import Moments
from lightning_compress.callbacks.objective import Objective
from lightning_compress.compression import compress
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.files import normalized_path
from lightning_compress.logging import Artifacts
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import Calibration
from lightning_compress.search.effort import effort_of
from lightning_compress.weights import CheckpointRecord, Weights
from lightning_compress.weights.reading.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

MAX_DROP = 0.3
EFFORT: Literal["default"] = "default"
_log = logging.getLogger(__name__)


class CompressCheckpoint(_Callback):
    """Write a compressed, verified file beside every checkpoint, and let it follow that checkpoint.

    ``epoch=3.ckpt`` gets the companion file ``epoch=3.safetensors`` in the same folder. When Lightning overwrites,
    links or deletes the checkpoint, the callback does the same to the companion file. The training itself does not
    change: weights, optimizer, random numbers, metrics and steps are those of a run without the callback. A file of
    another program is neither overwritten nor deleted.

    Args:
        plan: how to compress: a :class:`~lightning_compress.Plan`, the name of a preset or the path of a YAML
            file; or ``"auto"``: the smallest file that loses at most ``max_drop`` of a score is searched at the first
            checkpoint, and again when a later checkpoint loses more with the plan found.
        when: which checkpoints have a companion file: ``"all"``; ``"best"``, those that Lightning calls best;
            ``"last"``, the newest.
        on_error: what happens when an export fails: ``"warn"`` logs one line with the path, and the training continues;
            ``"raise"`` ends the training, on every rank.
        classes: class name → patterns of tensor names, over the derived classes.
        exclude: patterns of tensors to leave out, beyond those the module names itself
            (``compression_exclude()``).
        evaluate: with ``"auto"``, module → score, higher is better, a number or a :class:`~lightning_compress.Score`;
            the trainer's own validation of ``monitor`` by default.
        monitor: with ``"auto"``, the metric that the validation logs; that of the trainer's ``ModelCheckpoint`` by
            default.
        mode: with ``"auto"``, ``"max"`` if higher is better, ``"min"`` if lower is; by default that of the
            ``ModelCheckpoint`` that monitors the metric.
        max_drop: with ``"auto"``, the largest drop of the score that is allowed, in its own unit.
        calibration: with ``"auto"``, batches and their loss, as for :func:`~lightning_compress.smallest`: the search
            uses them, and each later file is guided by what they measure of its weights.
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
        PlanError: the plan is invalid; or, when ``fit`` starts, it does not fit the model. This is raised whatever
            ``on_error`` is, because nothing is lost yet.
        CallbackError: an argument is wrong; or, when a run starts, ``when="best"`` without a
            ``ModelCheckpoint``, a second ``CompressCheckpoint`` in the same trainer, or ``"auto"`` without a score.
    """

    def __init__(
        self,
        plan: Plan | str | PathLike[str] = "paper-transformer",
        *,
        when: When = "all",
        on_error: OnError = "warn",
        classes: Mapping[str, str | Sequence[str]] | None = None,
        exclude: Sequence[str] = (),
        evaluate: Callable[[Any], Any] | None = None,
        monitor: str | None = None,
        mode: Mode | None = None,
        max_drop: float = MAX_DROP,
        calibration: Calibration | None = None,
        effort: Literal["quick", "default", "thorough"] = EFFORT,
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
        check_number("max_drop", max_drop)
        objective = Objective(monitor, mode, evaluate, max_drop)
        check_calibration(calibration)
        checked(effort_of, effort)
        self._auto = Auto(objective, calibration, effort) if isinstance(plan, str) and plan == "auto" else None
        self.plan = None if self._auto else Plan.resolve(plan)
        if self.plan and (
            any(value is not None for value in (evaluate, monitor, mode, calibration))
            or (max_drop, effort) != (MAX_DROP, EFFORT)
        ):
            raise CallbackError(
                "evaluate, monitor, mode, calibration, max_drop and effort are for plan='auto', and the plan is "
                f"{plan!r}: leave them out"
            )
        if self._auto and background is not None:
            raise CallbackError(
                f"background={background!r} does not work with plan='auto', whose search evaluates the module of the "
                "training: leave background out, or train with a given plan and search afterwards"
            )
        if evaluate is not None and monitor is not None:
            raise CallbackError(f"evaluate=… takes the place of monitor={monitor!r}: leave one of the two out")
        self.when = when
        self.on_error = on_error
        self.classes = classes
        self.exclude = tuple(exclude)
        self._policy = Policy(Moments.policy(when))
        self.background = background
        self._publishing = Publishing(artifacts, pictures)
        measure = self._auto.measure if self._auto else None
        self._exports = Exports(Exporter(self._compress, self._policy), self._publishing, on_error, measure)
        self._is_in_order = False  # whether the folders of this run were put in order when it started

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Attach to the trainer's checkpoints, saved and loaded ones."""
        same = [callback for callback in callbacks_of(trainer) if isinstance(callback, CompressCheckpoint)]
        if len(same) > 1:
            raise CallbackError(
                f"the trainer has {len(same)} CompressCheckpoint callbacks, which write the same files: "
                "keep one of them"
            )
        checkpoint_hooks.attach(trainer, self)
        if self._auto:
            self._auto.attach(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Raise errors that are known before the first step."""
        self._policy.check(trainer)
        if self._auto:
            self._auto.check(trainer)
        shapes = shape_only(pl_module)
        if shapes is None:
            return
        try:
            with preserved_random_state():
                weights = self.weights_of(pl_module, shapes)
                if self.plan:
                    self.plan.assign(weights)
        except CompressionError:
            raise
        except Exception as error:
            # A method of the module may need what only the training sets up; if it never works, the first export fails.
            _log.warning("the plan could not be tried on the model before the training: %r", error)

    def on_train_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Include the files of the run that is resumed; Lightning has now read which they are."""
        self._policy.start(trainer)
        self._resume(trainer, pl_module)
        if self.plan and self.background:
            self._exports.start_background(trainer, self.plan, self.background)
        if self._auto and trainer.is_global_zero:
            self._auto.resume(str(trainer.ckpt_path or ""))
        self._publishing.start(trainer, self.plan.to_config() if self.plan else {"search": "auto"})

    def _resume(self, trainer: Trainer, module: nn.Module) -> None:
        """Put the folders of the run in order."""
        self._is_in_order = True

        def compressed(checkpoint: Checkpoint) -> Archive:
            record = CheckpointRecord.of_checkpoint(checkpoint.entries, ignore=_not_of_module(trainer))
            return self._compress(self.weights_of(module, checkpoint.state, record))

        resumption = Resumption(self._policy, compressed if self.plan else None)
        if trainer.is_global_zero:
            with preserved_random_state(), torch.no_grad():
                resumption.run(trainer)
        for path, error in resumption.failures.items():
            if self.on_error == "warn":
                _log.error("no compressed file at %s, the training goes on: %s", path, error)
        if self.on_error == "raise":
            raise_on_every_rank(trainer.strategy, next(iter(resumption.failures.values()), None))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Log and upload the files that were completed in the background."""
        self._exports.poll(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Likewise."""
        self._exports.poll(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Likewise; if ``on_error`` says so, raise on every rank the error of an export."""
        self._exports.conclude(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Likewise."""
        self._exports.conclude(trainer)

    def on_exception(self, trainer: Trainer, pl_module: nn.Module, exception: BaseException) -> None:
        """Wait for a limited time for exports in the background, after an error, an interrupt or SIGTERM."""
        self._exports.finish_after_exception(trainer)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Likewise, after a run that ended early without an exception."""
        self._exports.finish_after_exception(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Wait for a limited time until exports and uploads are complete."""
        if not self._is_in_order:  # the run resumed at its end, so no training has started
            self._resume(trainer, pl_module)
        self._is_in_order = False
        self._exports.finish(trainer)
        self._publishing.finish()

    # For callbacks that evaluate companion files

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

    def archive_of(self, weights: Weights) -> Archive | None:
        """The companion file written last, if it holds these weights; else the result of the given plan.

        Pending exports are waited for. None with a searched plan whose last file holds other weights: only a search can
        make one.
        """
        known = self._exports.latest_archive(weights)
        return compress(weights, self.plan) if known is None and self.plan else known

    # Listener of the trainer's checkpoints: each event becomes a job

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
                record = CheckpointRecord.of_checkpoint(checkpoint, ignore=_not_of_module(trainer))
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

    def after_remove(self, trainer: Trainer, path: str) -> None:
        """Delete the companion file."""
        self._policy.removed(path)
        self._exports.delete(trainer, path)

    def load(self, trainer: Trainer, path: str) -> dict[str, Any] | None:
        """Read a compressed file that is given as a checkpoint."""
        return checkpoint_reading.read(trainer, path)

    def restore(self, trainer: Trainer, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Load the weights of a compressed file into the module."""
        return checkpoint_reading.restore(trainer.strategy, checkpoint, strict)

    def _compress(self, weights: Weights) -> Archive:
        if self.plan:
            return compress(weights, self.plan)
        assert self._auto is not None
        return self._auto.compress(weights)


def _not_of_module(trainer: Trainer) -> list[str]:
    """Keys of a checkpoint under which other parts of the trainer store their state."""
    return [type(part).__qualname__ for part in (trainer.precision_plugin, getattr(trainer, "datamodule", None))]
