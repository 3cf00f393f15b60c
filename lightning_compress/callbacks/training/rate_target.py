"""The target of a rate-penalised training: when the file is measured, and what follows for the penalty."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from lightning_compress.callbacks.arguments import check_number, check_whole_number
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.training import Dial, LatentWeights, RatePenalty, check_rate_plan, exact_bytes
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)
_MARGIN = 0.985  # of the target: the bytes end a little above what the dial aims at
_STATE = ("first", "integral", "error", "progress")


class RateTarget:
    """Adapts the penalty of a training to the bytes of its file.

    Args:
        ratio: exact bytes over bytes of the file; None if ``size`` is given.
        size: bytes of the file; None if ``ratio`` is given.
        every: optimizer steps between two measurements.
        ramp: see :class:`Dial`.
    """

    def __init__(self, ratio: float | None, size: int | None, every: int, ramp: float) -> None:
        self.every = every
        self.measured_bytes: int | None = None
        self._ratio, self._size, self._ramp = ratio, size, ramp
        self._target = size or 0
        self._dial = Dial(self._target, ramp)
        self._penalty: RatePenalty | None = None
        self._beside: int | None = None
        self._start, self._end = 0, 1

    @classmethod
    def of(
        cls, guided: GuidedPlan | None, ratio: float | None, size: int | None, every: int, ramp: float
    ) -> RateTarget | None:
        """The target of these arguments; None without one. The plan is None where it is to be found.

        Raises:
            CallbackError: an argument is out of range, or there are two targets.
            PlanError: the plan has no grid whose rate has a gradient.
        """
        if ratio is None and size is None:
            return None
        if ratio is not None and size is not None:
            raise CallbackError("target_ratio and target_bytes are both given: leave one of them out")
        check_number("target_ratio", ratio, optional=True)
        check_whole_number("target_bytes", size, 1, optional=True)
        check_whole_number("measure_every", every, 1)
        check_number("ramp", ramp)
        if ramp > 1 or (ratio is not None and ratio <= 1):
            name, value, expected = ("ramp", ramp, "0 to 1") if ramp > 1 else ("target_ratio", ratio, "above 1")
            raise CallbackError(f"{name} is {value}, expected a number {expected}")
        if guided is not None:
            check_rate_plan(guided.plan)
        return cls(ratio, size, every, ramp)

    def target_of(self, weights: Weights) -> int:
        """The bytes that the file of these weights is to have."""
        return self._size or int(exact_bytes(weights) / (self._ratio or 1))

    def start(self, latent: LatentWeights, steps: float, first: int) -> None:
        """Begin, or resume, a training of ``steps`` optimizer steps whose weights are quantized from step ``first``."""
        if not math.isfinite(steps):
            raise CallbackError("a target needs the length of the training: give the Trainer max_epochs or max_steps")
        self._penalty = RatePenalty(latent)
        exact = self._penalty.exact_bytes
        self._target = self.target_of(latent.weights)
        least = self._penalty.least_bytes()
        if self._target <= least:
            raise TrainingError(
                f"the target is {self._target:,} bytes, and the file has {least:,} without a single index: give a "
                f"target of more bytes (a ratio below {exact / least:.1f}), or compress what the plan keeps exactly"
            )
        self._dial = replace(self._dial, target=max(1, int(_MARGIN * self._target)))
        self._penalty.beside = self._beside or self._penalty.beside
        self._start, self._end = first, max(int(steps), first + 1)

    def before_step(self, step: int) -> bool:
        """Add the gradients of the penalty, and measure where it is time; whether it was."""
        assert self._penalty is not None
        is_due = (step - self._start) % self.every == 0
        if is_due or not self._penalty.is_measured:
            size = self._penalty.measure()
            if is_due:
                self.measured_bytes = size
                self._dial = self._dial.measured(size, (step - self._start) / (self._end - self._start))
        self._penalty.add_gradients(self._dial.rate_weight)
        return is_due

    def finish(self) -> None:
        """Measure the final weights; the log says if the target was missed, and what helps."""
        assert self._penalty is not None
        self.measured_bytes = self._penalty.file_bytes()
        if self.measured_bytes > self._target:
            _log.error(
                "the file has %s bytes, and the target is %s: train longer, lower ramp, or give the plan a larger step",
                f"{self.measured_bytes:,}",
                f"{self._target:,}",
            )

    def scalars(self) -> dict[str, float]:
        """What is logged at a measurement."""
        assert self._penalty is not None
        assert self.measured_bytes is not None
        return {
            "training/bytes": float(self.measured_bytes),
            "training/ratio": self._penalty.exact_bytes / self.measured_bytes,
            "training/bits_per_weight": 8 * self.measured_bytes / self._penalty.weights,
            "training/rate_weight": self._dial.rate_weight,
        }

    def state_dict(self) -> dict[str, Any]:
        """The dial. Code lengths are measured anew after a checkpoint, as they are when a run resumes from it."""
        if self._penalty is not None:
            self._penalty.forget()
            self._beside = self._penalty.beside
        return {"beside": self._beside, **{name: getattr(self._dial, name) for name in _STATE}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the dial of a checkpoint, which may have another target."""
        self._beside = state.get("beside")
        self._dial = replace(self._dial, **{name: state[name] for name in _STATE if name in state})
