"""What a step with quantized weights and a rate costs, in steps of the same training without them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from lightning_compress import Weights
from lightning_compress.training import LatentWeights, RatePenalty, exact_bytes, starting_plan

_STEPS = 11
_EVERY = 50  # steps between two measurements, as by default


def cost(yardstick: Any, sentences: int, ratio: float) -> str:
    """One line: CPU seconds of both steps, alternating, and the median of their ratios; without a teacher."""
    model = yardstick.model.train()
    weights = Weights.from_module(model)
    latent = LatentWeights(model, starting_plan(weights, int(exact_bytes(weights) / ratio)), weights=weights)
    penalty = RatePenalty(latent)
    penalty.measure()
    measuring = _seconds(penalty.measure)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    batches = random.Random(0).sample(list(yardstick.batches(29_000, sentences)), _STEPS + 2)

    def plain(batch: Any) -> None:
        optimizer.zero_grad()
        yardstick.loss(batch).backward()
        optimizer.step()

    def quantized(batch: Any) -> None:
        optimizer.zero_grad()
        latent.substitute()
        yardstick.loss(batch).backward()
        latent.end_step()
        penalty.add_gradients(0.1)
        optimizer.step()

    pairs = [(_seconds(lambda b=b: plain(b)), _seconds(lambda b=b: quantized(b))) for b in batches][2:]
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    times = statistics.median((with_rate + measuring / _EVERY) / without for without, with_rate in pairs)
    return (
        f"plain {first:.3f} s, quantized with a rate {second:.3f} s, measuring {measuring:.2f} s every {_EVERY} steps: "
        f"{times:.2f} times a plain step"
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
