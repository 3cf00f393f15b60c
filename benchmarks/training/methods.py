"""What happens to the weights in each step: quantization with a penalty on the rate, masks, or factors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from lightning_compress import Binary, Half, Plan, Rule, Ternary, Weights, compress
from lightning_compress.training import (
    Dial,
    LatentWeights,
    Masks,
    RatePenalty,
    Schedule,
    calibrated_start,
    exact_bytes,
    factorize,
    starting_plan,
)

PAD = 0


class Method(Protocol):
    """A method, called by the loop of a training."""

    def forward(self) -> AbstractContextManager[None]:
        """The block of forward and backward pass."""

    def before_step(self, step: int, steps: int) -> None:
        """Called before the optimizer steps."""

    def after_step(self, step: int) -> None:
        """Called after it."""

    def report(self) -> str:
        """What is printed from time to time."""

    def save(self, path: Path) -> None:
        """Write the file."""


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


class Rate:
    """Quantized weights, and the code length beside the loss, up to a ratio."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        module = yardstick.model
        weights = Weights.from_module(module)
        exact = exact_bytes(weights)
        target = int(exact / options.ratio)
        if options.steps_of == "rows":
            self._guided = calibrated_start(weights, module, TrainingText(yardstick), target, options.headroom)
        else:
            self._guided = starting_plan(weights, target, options.headroom)
        self._module, self._every, self._size, self._exact = module, options.measure_every, exact, exact
        self._latent = LatentWeights(module, self._guided, weights=weights)
        self._penalty = RatePenalty(self._latent)
        self._dial = Dial(int(0.985 * target), options.ramp, options.rate_weight)

    def forward(self) -> AbstractContextManager[None]:
        return self._latent.quantized()

    def before_step(self, step: int, steps: int) -> None:
        if step % self._every == 0:
            self._size = self._penalty.measure()
            self._dial = self._dial.measured(self._size, step / steps)
        self._penalty.add_gradients(self._dial.rate_weight)

    def after_step(self, step: int) -> None:
        pass

    def report(self) -> str:
        return f"ratio {self._exact / self._size:.2f}, rate weight {self._dial.rate_weight:.3g}"

    def save(self, path: Path) -> None:
        self._guided.compress(self._module).save(path)


class Pruning:
    """Masks by magnitude, by a cubic schedule over the first half; the file in half precision."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        self._module = module = yardstick.model
        weights = Weights.from_module(module)
        matrices = [weight.name for weight in weights if weight.tensor.dim() > 1]
        share = (
            options.amount
            * sum(w.tensor.numel() for w in weights)
            / sum(w.tensor.numel() for w in weights if w.tensor.dim() > 1)
        )
        self._masks = Masks(module, weights, matrices)
        self._schedule = Schedule(share, end=options.steps // 2, every=max(1, options.steps // 40))
        self._share = -1.0

    def forward(self) -> AbstractContextManager[None]:
        return nullcontext()

    def before_step(self, step: int, steps: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        share = self._schedule.share(step)
        if share > self._share:
            self._share = share
            self._masks.update(self._schedule, step)
        self._masks.apply()

    def report(self) -> str:
        return f"{self._masks.share:.1%} of the weights in matrices pruned"

    def save(self, path: Path) -> None:
        compress(self._module, Plan(Rule("*", Half(rounding="nearest")))).save(path)


class Factors:
    """Factors of low rank by sensitivity; the file in half precision."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        self._module = module = yardstick.model
        calibration = TrainingText(yardstick) if options.calibrated else None
        factorize(module, target_ratio=options.ratio, calibration=calibration)

    def forward(self) -> AbstractContextManager[None]:
        return nullcontext()

    def before_step(self, step: int, steps: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def report(self) -> str:
        return f"{sum(each.numel() for each in self._module.parameters()):,} weights"

    def save(self, path: Path) -> None:
        compress(self._module, Plan(Rule("*", Half(rounding="nearest")))).save(path)


class Codes:
    """Matrices of few values, such as two or three for each row; the rest, and the file, in half precision."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        self._module = module = yardstick.model
        weights = Weights.from_module(module)
        method, half = CODES[options.method], Half(rounding="nearest")
        rules = [Rule(weight.name, method, half) for weight in weights if weight.tensor.dim() > 1]
        self._plan = Plan(*rules, Rule("*", half))
        self._latent = LatentWeights(module, self._plan, weights=weights)

    def forward(self) -> AbstractContextManager[None]:
        return self._latent.quantized()

    def before_step(self, step: int, steps: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def report(self) -> str:
        return ""

    def save(self, path: Path) -> None:
        compress(self._module, self._plan).save(path)


class Exact:
    """Nothing is changed; the file in half precision."""

    def __init__(self, yardstick: Any, options: argparse.Namespace) -> None:
        self._module = yardstick.model

    def forward(self) -> AbstractContextManager[None]:
        return nullcontext()

    def before_step(self, step: int, steps: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def report(self) -> str:
        return ""

    def save(self, path: Path) -> None:
        compress(self._module, Plan(Rule("*", Half(rounding="nearest")))).save(path)


CODES: dict[str, Binary | Ternary] = {"binary": Binary("row"), "ternary": Ternary("row")}
METHODS: dict[str, Callable[[Any, argparse.Namespace], Method]] = {
    "rate": Rate,
    "prune": Pruning,
    "low-rank": Factors,
    "student": Exact,
} | dict.fromkeys(CODES, Codes)
