"""What a training does besides quantizing all weights in each step."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_compress.training.updates.learned_steps import LearnedSteps, learned_steps_of
from lightning_compress.training.updates.noise import QuantNoise, noise_of
from lightning_compress.training.updates.update import StraightThrough, Update, UpdateName, update_of


@dataclass(frozen=True)
class StepSettings:
    """How a step treats the weights and their quantized values.

    Attributes:
        update: which weights a step computes with.
        noise: which of them are quantized; None for all.
        learn_steps: how the steps of grids are trained; None to keep those of the plan.
    """

    update: Update = field(default_factory=StraightThrough)
    noise: QuantNoise | None = None
    learn_steps: LearnedSteps | None = None

    @classmethod
    def of(
        cls,
        update: Update | UpdateName = "straight-through",
        noise: QuantNoise | float | None = None,
        learn_steps: LearnedSteps | bool = False,
    ) -> StepSettings:
        """The settings of these arguments, where names, shares and True stand for settings of their own.

        Raises:
            PlanError: an argument is unknown or out of range.
        """
        return cls(update_of(update), noise_of(noise), learned_steps_of(learn_steps))
