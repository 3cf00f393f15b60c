"""The loop of a retraining: cross-entropy and distillation from the exact weights, AdamW, a cosine."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from benchmarks.training.methods import PAD, Method
from lightning_compress.training import soft_target_loss

_WARMUP = 30
_REPORT = 25
_VALIDATE = 200
_SPECIAL = 3  # the last of the words that are none: padding, begin, end, unknown


@dataclass(frozen=True)
class Settings:
    """How a retraining trains.

    Attributes:
        steps: of the optimizer.
        learning_rate: after the warm-up; it falls to a fiftieth by a cosine.
        sentences: of a batch.
        share: of the distillation in the loss, 0 to 1.
        source_noise: share of the source words that other words of the batch replace, for both models.
        dropout: share of the outputs of ``nn.Embedding`` and recurrent layers that are dropped, in the student; factors
            of embeddings are no ``nn.Embedding``.
        seed: of the order of batches, and of the noise.
    """

    steps: int
    learning_rate: float
    sentences: int
    share: float
    source_noise: float
    dropout: float
    seed: int


def retrain(yardstick: Any, teacher: nn.Module, method: Method, settings: Settings) -> None:
    """Train ``yardstick.model`` on; the teacher has the exact weights."""
    model, shuffled = yardstick.model.train(), random.Random(settings.seed)
    hooks = _drop_out(model, settings.dropout)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.999), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, max(settings.steps, 1)))
    batches = list(yardstick.batches(29_000, settings.sentences))
    generator = torch.Generator().manual_seed(settings.seed)
    order: list[int] = []
    total, began = 0.0, time.perf_counter()
    for step in range(settings.steps):
        order = order or shuffled.sample(range(len(batches)), len(batches))
        optimizer.zero_grad()
        source, previous, target = batches[order.pop()]
        batch = _with_noise(source, settings.source_noise, generator), previous, target
        with method.forward():
            loss = _loss(model, teacher.eval(), batch, settings.share)
            loss.backward()
        total += loss.item()
        method.before_step(step, settings.steps)
        optimizer.step()
        schedule.step()
        method.after_step(step)
        if (step + 1) % _REPORT == 0:
            seconds = time.perf_counter() - began
            print(f"step {step + 1}, {seconds:.0f} s, loss {total / _REPORT:.3f}, {method.report()}", flush=True)
            total = 0.0
        if (step + 1) % _VALIDATE == 0 or step + 1 == settings.steps:
            print(f"step {step + 1}, loss on the validation text {_validated(yardstick, method):.4f}", flush=True)
    for hook in hooks:
        hook.remove()


def _drop_out(model: nn.Module, share: float) -> list[RemovableHandle]:
    """Let a share of the outputs of embeddings and recurrent layers be dropped while the model trains."""

    def dropped(module: nn.Module, _: object, output: Any) -> Any:
        if isinstance(output, tuple):  # of a recurrent layer: its outputs and last state
            return F.dropout(output[0], share, module.training), *output[1:]
        return F.dropout(output, share, module.training)

    layers = [module for module in model.modules() if isinstance(module, (nn.Embedding, nn.RNNBase))]
    return [module.register_forward_hook(dropped) for module in layers if share]


@torch.no_grad()
def _validated(yardstick: Any, method: Method) -> float:
    """Mean cross-entropy, nats, of a target word of the validation text; smoother than BLEU."""
    total, words = 0.0, 0
    yardstick.model.eval()
    with method.forward():
        for source, previous, target in yardstick.batches(split="valid"):
            count = int((target != PAD).sum())
            total, words = total + count * yardstick.loss((source, previous, target)).item(), words + count
    yardstick.model.train()
    return total / words


def _loss(model: nn.Module, teacher: nn.Module, batch: Any, share: float) -> torch.Tensor:
    source, previous, target = batch
    scores = model(source, previous)
    exact = F.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=PAD)
    with torch.no_grad():
        reference = teacher(source, previous)
    return (1 - share) * exact + share * soft_target_loss(scores, reference, mask=target != PAD)


def _with_noise(source: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Sentences in which words, but not the ends and what fills them up, give way to words of the same batch."""
    if not share:
        return source
    words = source[source > _SPECIAL]
    drawn = words[torch.randint(len(words), source.shape, generator=generator)]
    changed = (torch.rand(source.shape, generator=generator) < share) & (source > _SPECIAL)
    return torch.where(changed, drawn, source)


def _rate(step: int, steps: int) -> float:
    return min((step + 1) / _WARMUP, 1.0) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
