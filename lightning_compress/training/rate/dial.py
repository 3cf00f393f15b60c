"""The dial of rate-penalised training: what a bit costs, adapted until the file has the bytes of the target."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_PROPORTIONAL = 10.0
_INTEGRAL = 600.0  # 3 % too many bytes for a tenth of the training turn the rate weight up six times
_MOST_AT_ONCE = 1.5  # by which a measurement turns the integral part
_LOG_RANGE = 16.0  # of the dial around its start, as a natural logarithm


@dataclass(frozen=True)
class Dial:
    """A proportional-integral controller of the logarithm of the rate weight.

    The target moves from the bytes of the first file to its final value, by equal ratios, so that the loss can follow.

    Attributes:
        target: bytes.
        ramp: the share of the training, 0 to 1, after which the target has its final value.
        start: the rate weight, in nats of the loss for one bit for each weight, before it is adapted.
        first: bytes of the first measured file; None before it.
        integral: what the errors so far, over the progress of the training, turn the logarithm of the rate weight by.
        error: the logarithm of the measured bytes over the target of that moment.
        progress: of the training at the last measurement.
    """

    target: int
    ramp: float = 0.25
    start: float = 0.1
    first: int | None = None
    integral: float = 0.0
    error: float = 0.0
    progress: float = 0.0

    @property
    def rate_weight(self) -> float:
        """Nats for one bit for each weight."""
        log = self.integral + _PROPORTIONAL * self.error
        return self.start * math.exp(min(max(log, -_LOG_RANGE), _LOG_RANGE))

    def measured(self, size: int, progress: float) -> Dial:
        """The dial after a file of ``size`` bytes, at a share of the training from 0 to 1."""
        first = self.first or size
        error = math.log(size / self.target_at(progress, first))
        turn = _INTEGRAL * error * max(progress - self.progress, 0.0)
        integral = self.integral + min(max(turn, -_MOST_AT_ONCE), _MOST_AT_ONCE)
        integral = min(max(integral, -_LOG_RANGE), _LOG_RANGE)
        return replace(self, first=first, error=error, integral=integral, progress=progress)

    def target_at(self, progress: float, first: int) -> float:
        """Bytes that the file is to have at a share of the training."""
        share = 1.0 if progress >= self.ramp else progress / self.ramp
        return float(first ** (1 - share) * self.target**share)
