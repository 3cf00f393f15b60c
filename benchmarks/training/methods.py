"""What happens to the weights in each step: quantization with a penalty on the rate, masks, or few values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_compress import Binary, Half, Plan, Rule, Ternary, Weights
from lightning_compress.compression import GuidedPlan
from lightning_compress.training import (
    Dial,
    LatentWeights,
    Masks,
    RatePenalty,
    Schedule,
    calibrated_start,
    starting_plan,
)

PAD = 0
_NEAREST = Half(rounding="nearest")
HALF = Plan(Rule("*", _NEAREST))


class Method:
    """What happens to a model in each step, called by the loop of a training: here nothing.

    Args:
        module: the model.
        plan: of the file; half precision by default.
    """

    def __init__(self, module: nn.Module, plan: Plan | GuidedPlan = HALF) -> None:
        self._module, self._plan = module, plan

    def forward(self) -> AbstractContextManager[None]:
        """The block of forward and backward pass."""
        return nullcontext()

    def before_step(self, step: int, steps: int) -> None:
        """Called before the optimizer steps."""

    def after_step(self, step: int) -> None:
        """Called after it."""

    def report(self) -> str:
        """What is printed from time to time."""
        return ""

    def save(self, path: Path) -> None:
        """Write the file."""
        plan = self._plan if isinstance(self._plan, GuidedPlan) else GuidedPlan(self._plan)
        plan.compress(self._module).save(path)


class TrainingText:
    """Calibration data: the first sentences of the training text of a yardstick."""

    def __init__(self, yardstick: Any) -> None:
        self._yardstick = yardstick

    def __iter__(self) -> Iterator[Any]:
        return iter(self._yardstick.batches())

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        loss: Tensor = self._yardstick.loss(batch)
        return loss

    def outputs(self, module: nn.Module, batch: Any) -> Tensor:
        source, previous, target = batch
        scores: Tensor = module(source, previous)
        return scores[target != PAD]


class Rate(Method):
    """Quantized weights, and the code length beside the loss, up to a ratio."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        module = yardstick.model
        weights = Weights.from_module(module)
        exact = options.exact_bytes
        target = int(exact / options.ratio)
        if options.steps_of == "rows":
            start = calibrated_start(
                weights, module, TrainingText(yardstick), target, options.headroom, feeds_back=options.feeds_back
            )
            start.load(weights)
            guided = start.guided
        else:
            guided = starting_plan(weights, target, options.headroom)
        super().__init__(module, guided)
        self._every, self._size, self._exact = options.measure_every, exact, exact
        self._latent = LatentWeights(module, guided, weights=weights)
        self._penalty = RatePenalty(self._latent)
        self._dial = Dial(int(0.985 * target), options.ramp, options.rate_weight)

    def forward(self) -> AbstractContextManager[None]:
        return self._latent.quantized()

    def before_step(self, step: int, steps: int) -> None:
        if step % self._every == 0:
            self._size = self._penalty.measure()
            self._dial = self._dial.measured(self._size, step / steps)
        self._penalty.add_gradients(self._dial.rate_weight)

    def report(self) -> str:
        return f"ratio {self._exact / self._size:.2f}, rate weight {self._dial.rate_weight:.3g}"


class Pruning(Method):
    """Masks by magnitude, by a cubic schedule over the first half."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        super().__init__(yardstick.model)
        weights = Weights.from_module(yardstick.model)
        matrices = [weight.name for weight in weights if weight.tensor.dim() > 1]
        share = (
            options.amount
            * sum(w.tensor.numel() for w in weights)
            / sum(w.tensor.numel() for w in weights if w.tensor.dim() > 1)
        )
        self._masks = Masks(yardstick.model, weights, matrices)
        self._schedule = Schedule(share, end=options.steps // 2, every=max(1, options.steps // 40))
        self._share = -1.0

    def after_step(self, step: int) -> None:
        share = self._schedule.share(step)
        if share > self._share:
            self._share = share
            self._masks.update(self._schedule, step)
        self._masks.apply()

    def report(self) -> str:
        return f"{self._masks.share:.1%} of the weights in matrices pruned"


class Codes(Method):
    """Matrices of few values, such as two or three for each row; the rest in half precision."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        weights = Weights.from_module(yardstick.model)
        matrices = [weight.name for weight in weights if weight.tensor.dim() > 1]
        rules = [Rule(name, CODES[options.method], _NEAREST) for name in matrices]
        plan = Plan(*rules, Rule("*", _NEAREST))
        super().__init__(yardstick.model, plan)
        self._latent = LatentWeights(yardstick.model, plan, weights=weights)

    def forward(self) -> AbstractContextManager[None]:
        return self._latent.quantized()


CODES: dict[str, Binary | Ternary] = {"binary": Binary("row"), "ternary": Ternary("row")}
METHODS: dict[str, Callable[[Any, argparse.Namespace], Method]] = {
    "rate": Rate,
    "prune": Pruning,
    "plain": lambda yardstick, _: Method(yardstick.model),
} | dict.fromkeys(CODES, Codes)
