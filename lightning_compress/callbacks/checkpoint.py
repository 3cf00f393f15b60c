"""``CompressCheckpoint``: a compressed file beside every checkpoint that Lightning saves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from lightning_compress import files
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks import companion_files, evaluation, seam
from lightning_compress.callbacks.auto import Auto
from lightning_compress.callbacks.base import callback_class
from lightning_compress.callbacks.collective import gather, on_rank_zero, shape_only
from lightning_compress.callbacks.monitored import Mode
from lightning_compress.callbacks.naming import is_temporary, partner_of
from lightning_compress.callbacks.policy import Policy, When
from lightning_compress.callbacks.publishing import Publishing
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.logging import Artifacts
from lightning_compress.pipeline.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.runtime.progress import spinner
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

OnError = Literal["warn", "raise"]
_log = logging.getLogger(__name__)


class CompressCheckpoint(_Callback):
    """Write a compressed, verified file beside every checkpoint, and let it follow that checkpoint.

    ``epoch=3.ckpt`` gets ``epoch=3.safetensors`` in the same folder: when Lightning overwrites, links or
    deletes the one, the other follows. The training itself is not changed: weights, optimizer, random
    numbers, metrics and steps are those of a run without the callback. A file of another program is neither
    overwritten nor deleted.

    Args:
        plan: how to compress: a :class:`~lightning_compress.Plan`, the name of a preset or the path of a YAML
            file; or ``"auto"``, which searches the smallest file that loses at most ``max_drop`` of a score, at the
            first checkpoint, and again when a later one loses more with the plan found.
        when: which checkpoints have a file: ``"all"``; ``"best"``, what Lightning calls best; ``"last"``, the
            newest.
        on_error: what a failed export does: ``"warn"`` logs it once, with the path, and the training goes on;
            ``"raise"`` ends the training, on every rank.
        classes: class name → patterns of tensor names, over the derived classes.
        exclude: patterns of tensors to leave out, beyond those the module names itself
            (``compression_exclude()``).
        evaluate: with ``"auto"``, module → score, higher is better, a number or a :class:`~lightning_compress.Score`;
            the trainer's own validation of ``monitor`` by default.
        monitor: with ``"auto"``, the metric that the validation logs; that of the trainer's ``ModelCheckpoint`` by
            default.
        mode: with ``"auto"``, ``"max"`` where more of it is better, ``"min"`` where less is; as the ``ModelCheckpoint``
            that monitors it says by default.
        max_drop: with ``"auto"``, the largest loss of score allowed.
        calibration: with ``"auto"``, batches and their loss, as for :func:`~lightning_compress.smallest`: the search
            uses them, and each later file is guided by what they measure of its weights.
        effort: with ``"auto"``, ``"quick"``, ``"default"`` or ``"thorough"``.
        artifacts: whether each file becomes a version of an artifact of Weights & Biases: False, True, or
            :class:`~lightning_compress.Artifacts` to say which versions stay.
        pictures: whether charts are drawn for the loggers that hold pictures; needs matplotlib.

    Raises:
        PlanError: the plan is wrong in itself; or, when ``fit`` starts, it does not fit the model. This is
            raised whatever ``on_error`` says, since nothing is lost yet.
        CallbackError: an argument is not known; or, when a run starts, ``when="best"`` without a
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
        max_drop: float = 0.3,
        calibration: Any = None,
        effort: Literal["quick", "default", "thorough"] = "default",
        artifacts: Artifacts | bool = False,
        pictures: bool = True,
    ) -> None:
        super().__init__()
        if on_error not in get_args(OnError):
            raise CallbackError(f"on_error={on_error!r} is not known: write 'warn' or 'raise'")
        self._auto = Auto(evaluate, monitor, mode, max_drop, calibration, effort) if plan == "auto" else None
        self.plan = None if self._auto else Plan.resolve(plan)
        if self.plan and any(option is not None for option in (evaluate, monitor, mode, calibration)):
            raise CallbackError(
                f"evaluate, monitor, mode and calibration are for plan='auto', and the plan is {plan!r}: leave them out"
            )
        self.when = when
        self.on_error = on_error
        self.classes = classes
        self.exclude = tuple(exclude)
        self._policy = Policy(when)
        self._publishing = Publishing(artifacts, pictures)
        self._newest = ("", "")  # fingerprint of the weights compressed last, and the file that holds them

    # Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begin to hear of checkpoints, those saved and those loaded."""
        same = [callback for callback in trainer.callbacks if isinstance(callback, CompressCheckpoint)]
        if len(same) > 1:
            raise CallbackError(
                f"the trainer has {len(same)} CompressCheckpoint callbacks, which write the same files: "
                "keep one of them"
            )
        seam.attach(trainer, self)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what cannot work before the first step is paid for."""
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
            # A hook of the module may need what only the training gives it; the first export tells if it never works.
            _log.warning("the plan could not be tried on the model before the training: %r", error)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take up the files of the run that is resumed, now that Lightning has read which they are."""
        self._policy.start(trainer)
        if self._auto and trainer.is_global_zero:
            self._auto.resume(str(trainer.ckpt_path or ""))
        self._publishing.start(trainer, self.plan.to_config() if self.plan else {"search": "auto"})

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait a while for what is still being uploaded."""
        self._publishing.finish()

    # For callbacks that measure what a file is worth

    def weights_of(self, module: Any, state: Mapping[str, Any]) -> Weights:
        """The weights of a state dict as this callback compresses them.

        Raises:
            WeightsError: they cannot be taken.
        """
        return Weights.from_state_dict(state, module=module, exclude=self.exclude, classes=self.classes)

    def archive_of(self, weights: Weights) -> Archive | None:
        """The file of these weights if it was the last to be written, else what a given plan makes of them.

        None with a searched plan, whose files alone tell what the search makes of weights.
        """
        known = self._already_compressed(weights.fingerprint)
        return compress(weights, self.plan) if known is None and self.plan else known

    # What the seam tells

    def saving(self, strategy: Any, checkpoint: Mapping[str, Any], path: str) -> Callable[[], None]:
        """Keep hold of the weights of a checkpoint about to be written, and compress them once it is."""
        if is_temporary(path) or "state_dict" not in checkpoint:
            return lambda: None
        trainer, target = seam.trainer_of(strategy), partner_of(path)
        if not self._policy.wants(trainer, path):
            # What an earlier save left under this name would not be this checkpoint's.
            return lambda: self._attempt(strategy, target, lambda: _discard(target))
        try:
            state = gather(strategy, checkpoint["state_dict"])
        except Exception as error:
            failure = error
            return lambda: self._attempt(strategy, target, lambda: _raise(failure))
        return lambda: self._attempt(strategy, target, lambda: self._export(trainer, state, path))

    def linked(self, strategy: Any, target: str, link: str) -> None:
        """Link the compressed file as the checkpoint was linked; none where the checkpoint has none."""
        source, partner = partner_of(target), partner_of(link)
        if files.normalized_path(source) == files.normalized_path(partner):
            return

        def follow() -> None:
            if is_archive(source):
                companion_files.link(source, partner)
            else:
                _discard(partner)

        self._attempt(strategy, partner, follow)

    def removed(self, strategy: Any, path: str) -> None:
        """Delete the compressed file of a checkpoint that was deleted."""
        self._policy.removed(path)
        if strategy.is_global_zero:
            _discard(partner_of(path))

    def loading(self, strategy: Any, path: str) -> dict[str, Any] | None:
        """Read a compressed file where Lightning asks for a checkpoint."""
        return evaluation.read(seam.trainer_of(strategy), path)

    def restoring(self, strategy: Any, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Put the weights of a compressed file into the module."""
        return evaluation.restore(strategy, checkpoint, strict)

    # The work, on rank 0

    def _export(self, trainer: Any, state: Mapping[str, Any], path: str) -> None:
        began, target = perf_counter(), partner_of(path)
        weights = self.weights_of(trainer.lightning_module, state)
        archive = self._already_compressed(weights.fingerprint)
        is_new = archive is None
        archive = archive or self._compressed(trainer, weights)
        files.make_parent_folder(target)
        archive.save(target)
        self._newest = (weights.fingerprint, target)
        for loser in self._policy.written(trainer, path):
            _discard(partner_of(loser))
        if is_new:
            measure = self._auto.measure(trainer) if self._auto else ""
            self._publishing.new_file(trainer, archive, weights, perf_counter() - began, measure)
        self._publishing.upload(trainer, archive, target, path)

    def _compressed(self, trainer: Any, weights: Weights) -> Archive:
        if self.plan:
            with spinner(trainer.progress_bar_callback is not None, "compressing the checkpoint"):
                return compress(weights, self.plan)
        assert self._auto is not None
        return self._auto.compress(trainer, weights)

    def _already_compressed(self, fingerprint: str) -> Archive | None:
        """The file made of the same weights a moment ago: ``save_last=True`` saves everything twice."""
        known, path = self._newest
        if known != fingerprint or not is_archive(path):
            return None
        archive = Archive.open(path)
        return archive if archive.manifest.fingerprint == fingerprint else None

    def _attempt(self, strategy: Any, target: str, work: Callable[[], None]) -> None:
        """Do the work on rank 0, and with its failure what ``on_error`` says."""
        if self.on_error == "raise":
            on_rank_zero(strategy, lambda: _cleanly(target, work))
        elif strategy.is_global_zero:
            try:
                _cleanly(target, work)
            except CompressionError as error:
                _log.error("no compressed file at %s, the training goes on: %s", target, error)


def _cleanly(target: str, work: Callable[[], None]) -> None:
    """Do the work; if it fails leave nothing at ``target``, not even what an earlier save left there."""
    try:
        with preserved_random_state(), torch.no_grad():
            work()
    except Exception as error:
        _discard(target)
        if isinstance(error, CompressionError):
            raise
        raise CallbackError(f"writing {target} failed with {type(error).__name__}: {error}") from error


def _discard(path: str) -> None:
    """Delete a compressed file; a failure is logged, not raised, since every other file is still good."""
    try:
        companion_files.discard(path)
    except Exception as error:
        _log.error("the compressed file %s is not needed any more and cannot be deleted: %s", path, error)


def _raise(error: Exception) -> None:
    raise error
