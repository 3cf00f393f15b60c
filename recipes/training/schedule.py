"""Learning-rate schedules: factors on the highest learning rate, by the number of updates made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from recipes.checks import check_name
from recipes.errors import SettingsError


@dataclass(frozen=True)
class InverseSquareRoot:
    """The Transformer's (Vaswani et al. 2017, section 5.3): linear to 1 over ``warmup`` steps, then as 1 / √step.

    Raises:
        SettingsError: if ``warmup`` is below 1.
    """

    warmup: int

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise SettingsError(f"warmup is {self.warmup}: expected 1 step or more")

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` updates were made."""
        return min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))


@dataclass(frozen=True)
class Halving:
    """GNMT's (Wu et al. 2016, section 8.3): 1 for ``start`` steps, from there on halved after ``every`` steps.

    Raises:
        SettingsError: if ``start`` is below 0 or ``every`` is below 1.
    """

    start: int
    every: int

    def __post_init__(self) -> None:
        if self.start < 0:
            raise SettingsError(f"start is {self.start}: expected 0 steps or more")
        if self.every < 1:
            raise SettingsError(f"every is {self.every}: expected 1 step or more")

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` updates were made."""
        return float(0.5 ** (max(step - self.start, 0) // self.every))


@dataclass(frozen=True)
class Cosine:
    """From 1 to nearly 0 by half a cosine (Loshchilov and Hutter 2017, "SGDR", equation 5), after a linear warm-up.

    Raises:
        SettingsError: if ``steps`` is below 1.
    """

    steps: int
    warmup: int = 50

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"the training has {self.steps} steps: expected 1 or more")

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` updates were made."""
        share = min(step / self.steps, 1.0)
        return min((step + 1) / self.warmup, 1.0) * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))


def make_schedule(name: str, warmup_steps: int, decay_start: int, decay_every: int) -> Callable[[int], float]:
    """``inverse-square-root`` with a warm-up, or ``halving`` from ``decay_start`` on.

    Raises:
        SettingsError: another name, or a number of steps out of range.
    """
    check_name("schedule", name, ("inverse-square-root", "halving"))
    return Halving(decay_start, decay_every) if name == "halving" else InverseSquareRoot(warmup_steps)
