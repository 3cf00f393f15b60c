"""Learning-rate schedule of the Transformer (Vaswani et al. 2017, section 5.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class InverseSquareRoot:
    """Factor on the peak learning rate: rises linearly to 1 over ``warmup`` steps, then falls as 1 / √step.

    Raises:
        ValueError: if ``warmup`` is below 1.
    """

    warmup: int

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}: expected 1 step or more")

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` updates were made."""
        return min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))
