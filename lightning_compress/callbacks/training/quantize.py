"""``QuantizeDuringTraining``: forward and backward passes with the weights that the file will hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_compress.callbacks.arguments import check_classes, check_texts, check_whole_number
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.training.checks import check_exports, check_not_sharded, check_optimizers
from lightning_compress.callbacks.training.evaluation_hooks import EvaluationHooks
from lightning_compress.callbacks.training.rate_target import RateTarget
from lightning_compress.callbacks.training.trained_plan import TrainedPlan
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError
from lightning_compress.logging import log_scalars, logging_step
from lightning_compress.plan import Plan
from lightning_compress.runtime import preserved_random_state
from lightning_compress.search import CalibrationData
from lightning_compress.training import LatentWeights, LearnedSteps, QuantNoise, StepSettings, Update, UpdateName
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


class QuantizeDuringTraining(EvaluationHooks, _Callback):
    """Train the exact weights with the gradients of the quantized ones.

    In each training step the module computes with the weights that a file of the plan would restore; the optimizer
    updates the exact, latent weights (straight-through estimator). Every rule of a plan works, whatever module owns the
    tensor; only low-rank factors do not. Validation, test and prediction see the quantized weights too. Between steps
    the module holds the latent weights, so checkpoints hold them, and averages of weights are averages of them:
    ``CompressCheckpoint`` with the same plan writes the file whose weights the validation measured.

    With a target, the code length of the grid indices is a penalty beside the loss, and its weight is adapted until
    the file has the bytes of the target (:mod:`lightning_compress.training.rate`).

    Args:
        plan: as for :class:`~lightning_compress.CompressCheckpoint`. With a target, its quantizer is
            ``Grid(step, trellis=0, rate_weight=0)``, and None finds the plan when the training starts.
        calibration: without a plan, batches and outputs or loss, as for :func:`~lightning_compress.smallest`: each row
            of a matrix gets a step by what it matters to the loss, and with ``start=0`` the training begins with
            points in which rounding errors make up for each other. None for one step for all matrices.
        update: which weights a step computes with: the quantized ones; ``"proximal"``, between these and the exact
            ones (:class:`~lightning_compress.training.ProximalUpdate`); ``"penalty"``, the exact ones, which a term of
            the loss draws to their quantized values (:class:`~lightning_compress.training.PenaltyUpdate`).
        noise: the share of the weights that a step quantizes, above 0, up to 1, or
            :class:`~lightning_compress.training.QuantNoise`; None for all weights.
        learn_steps: whether steps of grids are trained, or :class:`~lightning_compress.training.LearnedSteps`.
        start: the optimizer step from which weights are quantized.
        refit_every: methods are fitted to the latent weights again after so many training batches, and after each
            checkpoint. Methods whose fit is quick, all but ``KMeans``, can take 1.
        target_ratio: how many times smaller than the exact weights the file is to be.
        target_bytes: the bytes of the file; in place of ``target_ratio``.
        measure_every: with a target, the file is measured and the penalty adapted every so many optimizer steps.
        ramp: with a target, the share of the training (0 to 1) after which the file is to have its bytes.
        classes: as for :class:`~lightning_compress.CompressCheckpoint`.
        exclude: likewise.

    Raises:
        PlanError: the plan is invalid; or, when a run starts, it does not fit the module.
        CallbackError: an argument is wrong; when a run starts, the module is sharded, an optimizer evaluates its
            closure several times, or the checkpoint was trained with another plan or target.
        SearchError: when a run starts, a batch of the calibration fails.
        TrainingError: a weight becomes NaN; the target is below what the file has without any index.
    """

    def __init__(
        self,
        plan: Plan | str | PathLike[str] | None = None,
        *,
        calibration: CalibrationData | None = None,
        update: Update | UpdateName = "straight-through",
        noise: QuantNoise | float | None = None,
        learn_steps: LearnedSteps | bool = False,
        start: int = 0,
        refit_every: int = 1,
        target_ratio: float | None = None,
        target_bytes: int | None = None,
        measure_every: int = 50,
        ramp: float = 0.25,
        classes: Mapping[str, str | Sequence[str]] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_whole_number("start", start, 0)
        check_whole_number("refit_every", refit_every, 1)
        check_classes(classes)
        check_texts("exclude", exclude, "patterns of tensor names such as ['teacher.*']")
        self._trained = TrainedPlan(plan, calibration, StepSettings.of(update, noise, learn_steps))
        self.start, self.refit_every = start, refit_every
        self.classes, self.exclude = classes, tuple(exclude)
        self._rate = RateTarget.of(self._trained.guided, target_ratio, target_bytes, measure_every, ramp)
        if self.guided_plan is None and self._rate is None:
            raise CallbackError("there is neither a plan nor a target: give plan=…, target_ratio=… or target_bytes=…")
        self._latent: LatentWeights | None = None
        self._hooks: list[Any] = []
        self._is_in_batch, self._steps = False, math.inf

    @property
    def guided_plan(self) -> GuidedPlan | None:
        """What the training quantizes by; None before it is found. Its ``compress(module)`` stores what was trained."""
        return self._trained.guided

    @property
    def measured_bytes(self) -> int | None:
        """The bytes of the file when it was measured last; None without a target."""
        return self._rate.measured_bytes if self._rate else None

    # The run

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Take the weights of the module, which is on its device now; refuse what cannot be trained."""
        check_optimizers(trainer)
        self._take(trainer, pl_module)
        check_exports(trainer, self._latent_weights)

    def on_train_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Load the points to begin with; with manual optimization, quantize again after each step of a batch."""
        self._trained.begin(self._latent_weights.weights)
        self._latent_weights.forget_fit()
        self._steps = self._trained.checked_length(trainer.estimated_stepping_batches) - self.start
        if self._rate:
            self._rate.start(self._latent_weights, trainer.estimated_stepping_batches, self.start)
        if not pl_module.automatic_optimization:
            self._hooks = [each.register_step_post_hook(self._after_manual_step) for each in trainer.optimizers]

    def on_train_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Say whether the target was reached."""
        if self._rate and self._is_active(trainer):
            self._rate.finish()
            self._log_measurement(trainer)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the module with its latent weights and nothing else."""
        if self._latent is not None:
            self._latent.restore()
            self._trained.keep(self._latent)
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._latent = [], None

    def on_exception(self, trainer: Trainer, pl_module: nn.Module, exception: BaseException) -> None:
        """Load the latent weights, so that a checkpoint of the failed run holds them."""
        if self._latent is not None:
            self._latent.restore()

    # A training step

    def on_train_batch_start(self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int) -> None:
        """Load the quantized weights."""
        if self._is_active(trainer):
            self._is_in_batch = True
            with preserved_random_state():
                self._latent_weights.begin_step(trainer.global_step - self.start, self._steps)
                self._latent_weights.substitute()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Load the latent weights, which the optimizer updates; add the gradients of the methods and of the rate."""
        if not self._is_active(trainer):
            return
        self._latent_weights.end_step()
        with preserved_random_state():
            if self._rate and self._rate.before_step(trainer.global_step):
                self._log_measurement(trainer)
            self._latent_weights.train_steps(optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Load the latent weights, if the batch was one of several of an accumulated gradient."""
        self._is_in_batch = False
        self._latent_weights.restore()

    def _after_manual_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        if self._is_in_batch:
            self._latent_weights.substitute()

    # Evaluations

    def begin_evaluation(self, trainer: Trainer, module: nn.Module, is_first: bool) -> None:
        """Load the weights that a file of the latent weights restores."""
        if trainer.state.fn == "fit" and not self._is_active(trainer):
            return
        if self._latent is None and self.guided_plan is None:
            self._trained.tell_it_is_unknown()
            return
        if self._latent is None:
            self._take(trainer, module)
        with preserved_random_state():
            self._latent_weights.substitute_to_evaluate(is_first=is_first)

    def end_evaluated_batch(self) -> None:
        """Load the latent weights."""
        if self._latent is not None:
            self._latent.restore()

    def end_evaluation(self) -> None:
        """Free the quantized weights."""
        if self._latent is not None:
            self._latent.end_evaluation()

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """The plan, learned steps and the dial. Methods are fitted anew after this, as when a run resumes from it."""
        if self._latent is not None:
            self._latent.forget_fit()
            self._trained.keep(self._latent)
        return self._trained.state_dict() | (self._rate.state_dict() if self._rate else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue; a plan that was given must be that of the checkpoint."""
        self._trained.load_state_dict(state_dict)
        if self._rate:
            self._rate.load_state_dict(state_dict)

    # Parts

    @property
    def _latent_weights(self) -> LatentWeights:
        assert self._latent is not None
        return self._latent

    def _is_active(self, trainer: Trainer) -> bool:
        return trainer.global_step >= self.start

    def _take(self, trainer: Trainer, module: nn.Module) -> None:
        check_not_sharded(trainer, "QuantizeDuringTraining replaces", "train with ddp or on one device")
        weights = Weights.from_module(module, exclude=self.exclude, classes=self.classes)
        if self._rate:
            target = self._rate.target_of(weights)
            self._trained.find(trainer, module, weights, target, is_from_start=self._is_active(trainer))
        self._latent = self._trained.latent_weights(module, weights, self.refit_every)

    def _log_measurement(self, trainer: Trainer) -> None:
        if self._rate and trainer.is_global_zero:
            step, epoch = logging_step(trainer), trainer.current_epoch
            log_scalars(trainer.loggers, self._rate.scalars(), step, "the rate of the training", epoch=epoch)
