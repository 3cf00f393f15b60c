"""Schedules: the share of the weights that is pruned at each moment of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_compress.errors import TrainingError

Shape = Literal["one-shot", "linear", "cubic"]


@dataclass(frozen=True)
class Schedule:
    """A share that grows from ``first`` at ``start`` to ``final`` at ``end``, and changes every ``every`` moments.

    ``cubic``: M. Zhu and S. Gupta 2017, "To prune, or not to prune", equation 1. ``linear`` with a long ``every`` are
    the prune–retrain cycles of A. See, M.-T. Luong and C. D. Manning 2016, section 4.2. ``one-shot`` prunes at
    ``start`` and retrains from there.

    Attributes:
        final: the share at the end, 0 to 1.
        start: the moment of the first pruning: a step or an epoch, counted from 0.
        end: the moment from which the share is final; with ``one-shot`` it is not used.
        every: moments between two changes.
        shape: ``one-shot``, ``linear`` or ``cubic``.
        first: the share at the start, 0 to ``final``.

    Raises:
        TrainingError: a value out of range, or a schedule that ends before it starts.
    """

    final: float
    start: int = 0
    end: int | None = None
    every: int = 1
    shape: Shape = "cubic"
    first: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise TrainingError(f"schedule {self.shape!r} is unknown; write one of {', '.join(get_args(Shape))}")
        if not 0 <= self.first <= self.final <= 1:
            raise TrainingError(f"the shares are {self.first} and {self.final}, expected 0 <= first <= final <= 1")
        if self.start < 0 or self.every < 1:
            raise TrainingError(f"start is {self.start} and every {self.every}, expected at least 0 and at least 1")
        if self.shape != "one-shot" and (self.end is None or self.end <= self.start):
            raise TrainingError(
                f"the schedule starts at {self.start} and ends at {self.end}: give an end after the start, or "
                "shape='one-shot'"
            )

    def share(self, moment: int) -> float:
        """The share that is pruned from a moment on; 0 before the start."""
        if moment < self.start:
            return 0.0
        if self.shape == "one-shot" or self.end is None or moment >= self.end:
            return self.final
        changed = moment - (moment - self.start) % self.every
        left = 1 - (changed - self.start) / (self.end - self.start)
        return self.final + (self.first - self.final) * left ** (3 if self.shape == "cubic" else 1)

    def pruned(self, groups: int, moment: int) -> int:
        """How many of so many groups are pruned from a moment on, rounded down."""
        return math.floor(groups * self.share(moment) + 1e-9)
