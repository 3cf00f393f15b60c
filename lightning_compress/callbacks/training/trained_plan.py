"""The plan that a training quantizes by: given, found for a target, or taken from the checkpoint that is resumed."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import Tensor, nn

from lightning_compress.callbacks.arguments import check_calibration
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError
from lightning_compress.plan import Plan
from lightning_compress.quantize import GridGuide
from lightning_compress.search import CalibrationData
from lightning_compress.training import CalibratedStart, LatentWeights, StepSettings, calibrated_start, starting_plan
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)


class TrainedPlan:
    """The plan and the steps of rows of one callback.

    Args:
        plan: as the user gave it; None to find one for the target.
        calibration: batches, and the module's outputs or loss; None for equal steps. Only without a plan.
        settings: how a step treats the weights.

    Attributes:
        guided: what the training quantizes by; None before a run has found it.

    Raises:
        PlanError: the plan is invalid.
        CallbackError: there is calibration beside a plan, or it has neither outputs nor loss.
    """

    def __init__(
        self, plan: Plan | str | PathLike[str] | None, calibration: CalibrationData | None, settings: StepSettings
    ) -> None:
        check_calibration(calibration, methods=("outputs", "loss"))
        if plan is not None and calibration is not None:
            raise CallbackError(
                "calibration finds the steps of a plan, and there is a plan already: leave plan out, or calibration"
            )
        self._given = None if plan is None else Plan.resolve(plan)
        self._calibration, self._settings = calibration, settings
        self._learned: Mapping[str, Any] = {}
        self._is_told = False
        self._start: CalibratedStart | None = None
        self.guided = None if self._given is None else GuidedPlan(self._given)

    def find(self, trainer: Trainer, module: nn.Module, weights: Weights, target: int, *, is_from_start: bool) -> None:
        """Find the plan for a target of bytes, unless it is known. To be called on every rank; all get that of rank 0.

        Args:
            trainer: of all ranks.
            module: with the weights.
            weights: those that are exported.
            target: bytes.
            is_from_start: whether the first step has quantized weights, so that :meth:`begin` may change them.

        Raises:
            SearchError: a batch of the calibration fails.
            TrainingError: no plan of this kind reaches the target.
        """
        if self.guided is not None:
            return
        if self._calibration is None:
            start = CalibratedStart(starting_plan(weights, target), {})
        else:
            start = calibrated_start(weights, module, self._calibration, target, feeds_back=is_from_start)
        points = {name: tensor.cpu() for name, tensor in start.points.items()}
        content = start.guided.plan.to_config(), _row_steps(start.guided), points
        config, steps, points = trainer.strategy.broadcast(content, src=0)
        self.guided = GuidedPlan(Plan.from_config(config), _guidance(steps))
        self._start = CalibratedStart(self.guided, points) if points else None

    def begin(self, weights: Weights) -> None:
        """Load the points that were found to begin with; nothing where a training goes on, or there are none."""
        if self._start is not None:
            self._start.load(weights)
            _log.info(
                "the training begins with quantized weights in %d matrices, in which rounding errors make up for each "
                "other",
                len(self._start.points),
            )
        self._start = None

    def checked_length(self, steps: float) -> float:
        """The optimizer steps of a training.

        Raises:
            CallbackError: they are not known, and must be.
        """
        if self._settings.update.needs_length and not math.isfinite(steps):
            raise CallbackError(
                f"{self._settings.update} depends on the length of the training: give the Trainer max_epochs or "
                "max_steps, or write update='straight-through'"
            )
        return steps

    def latent_weights(self, module: nn.Module, weights: Weights, refit_every: int) -> LatentWeights:
        """The weights of a module that is trained by the plan, which must be known.

        Raises:
            PlanError: the plan or a setting does not fit the module.
            TrainingError: the checkpoint has learned steps of other tensors.
        """
        assert self.guided is not None
        latent = LatentWeights(module, self.guided, refit_every=refit_every, weights=weights, settings=self._settings)
        if latent.steps is not None and self._learned:
            latent.steps.load_state_dict(self._learned)
        self.guided = latent.guided
        return latent

    def tell_it_is_unknown(self) -> None:
        """Log once that weights are evaluated which the file will not hold."""
        if not self._is_told:
            _log.warning(
                "the plan is found when a training starts, so the exact weights are evaluated here: evaluate the "
                "compressed file in place of the checkpoint"
            )
        self._is_told = True

    def keep(self, latent: LatentWeights) -> None:
        """Keep the learned steps as they are now."""
        self._learned = latent.steps.state_dict() if latent.steps is not None else {}

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes needs."""
        if self.guided is None:
            return {}
        plan = json.dumps(self.guided.plan.to_config(), sort_keys=True)
        return {"plan": plan, "row_steps": _row_steps(self.guided), "learned_steps": self._learned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the plan of a checkpoint.

        Raises:
            CallbackError: the user gave another plan.
        """
        if "plan" not in state:
            return
        plan = Plan.from_config(json.loads(state["plan"]))
        if self._given is not None and plan != self._given:
            raise CallbackError(
                f"the checkpoint was trained with the plan {state['plan']}, and this run has another: resume with "
                "that plan, or start a new training from the weights alone"
            )
        self.guided = GuidedPlan(plan, _guidance(state.get("row_steps", {})))
        self._learned = state.get("learned_steps", {})


def _row_steps(guided: GuidedPlan) -> dict[str, Tensor]:
    guides = ((name, guide) for name, guide in guided.guidance.items() if isinstance(guide, GridGuide))
    return {name: guide.exponents for name, guide in guides if guide.exponents is not None}


def _guidance(steps: Mapping[str, Tensor]) -> dict[str, GridGuide]:
    return {name: GridGuide(exponents.cpu()) for name, exponents in steps.items()}
