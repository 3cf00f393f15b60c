"""What a step with quantized weights and a rate costs, in time and memory of the same training without them."""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.peak_memory import peak
from benchmarks.yardstick import yardstick_class
from lightning_compress import Weights
from lightning_compress.training import LatentWeights, RatePenalty, exact_bytes, starting_plan

_STEPS = 11
_EVERY = 50  # steps between two measurements, as by default


class Training:
    """Steps of a yardstick's model, without a teacher.

    Args:
        yardstick: with the model.
        sentences: of a batch.
        ratio: of the file, for steps with quantized weights and a rate; None for plain ones.
    """

    def __init__(self, yardstick: Any, sentences: int, ratio: float | None) -> None:
        self._yardstick, model = yardstick, yardstick.model.train()
        self._latent = self._penalty = None
        if ratio is not None:
            weights = Weights.from_module(model)
            plan = starting_plan(weights, int(exact_bytes(weights) / ratio))
            self._latent = LatentWeights(model, plan, weights=weights)
            self._penalty = RatePenalty(self._latent)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        self.batches = random.Random(0).sample(list(yardstick.batches(29_000, sentences)), _STEPS + 2)

    def measure(self) -> None:
        """Measure the file."""
        assert self._penalty is not None
        self._penalty.measure()

    def step(self, batch: Any) -> None:
        """Train on a batch."""
        self._optimizer.zero_grad()
        if self._latent is not None:
            self._latent.substitute()
        self._yardstick.loss(batch).backward()
        if self._latent is not None and self._penalty is not None:
            self._latent.end_step()
            self._penalty.add_gradients(0.1)
        self._optimizer.step()


def cost(models: Path, kind: str, sentences: int, ratio: float) -> str:
    """Two lines: CPU seconds of both steps, alternating, with the median of their ratios; and peaks of memory.

    Args:
        models: folder of ``yardstick.py``.
        kind: of the model.
        sentences: of a batch.
        ratio: of the file.
    """
    make = yardstick_class(models)
    plain, quantized = (Training(make(kind), sentences, each) for each in (None, ratio))
    quantized.measure()
    measuring = _seconds(quantized.measure)
    pairs = [(_seconds(lambda b=b: plain.step(b)), _seconds(lambda b=b: quantized.step(b))) for b in plain.batches][2:]
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    times = statistics.median((with_rate + measuring / _EVERY) / without for without, with_rate in pairs)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = [pool.apply(_peak, (models, kind, sentences, each)) for each in (None, ratio)]
    return (
        f"plain {first:.3f} s, quantized with a rate {second:.3f} s, measuring {measuring:.2f} s every {_EVERY} steps: "
        f"{times:.2f} times a plain step\n"
        f"memory at most {peaks[0] / 1e6:,.0f} MB and {peaks[1] / 1e6:,.0f} MB: {peaks[1] / peaks[0]:.2f} times"
    )


def _peak(models: Path, kind: str, sentences: int, ratio: float | None) -> int:
    """Bytes of memory at most while a fresh process trains a few steps; needs Linux."""
    torch.set_num_threads(1)
    training = Training(yardstick_class(models)(kind), sentences, ratio)
    if ratio is not None:
        training.measure()
    training.step(training.batches[0])
    return peak(lambda: [training.step(batch) for batch in training.batches[:4]])


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
