"""Calibration data for small modules: batches, a loss, and where wished the module's answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Batches:
    """Input and target of each batch; the loss is the cross-entropy of what the module answers."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def loss(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(module(batch[0]).float(), batch[1])


class Answers(Batches):
    """The same, and the scores before the softmax."""

    def outputs(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return module(batch[0])


class Squares(Batches):
    """The loss is half the squared answers, whose gradient is easily told."""

    def loss(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return module(batch[0]).float().square().sum() / 2


def ids(count: int = 4, size: int = 48, kinds: int = 64, classes: int = 24, cls: type[Batches] = Batches) -> Batches:
    """Batches of numbers from 0 to ``kinds - 1``, with the targets of a rule."""
    generator = torch.Generator().manual_seed(5)
    inputs = [torch.randint(0, kinds, (size,), generator=generator) for _ in range(count)]
    return cls([(x, (7 * x) % classes) for x in inputs])


def vectors(width: int, count: int = 3, size: int = 8, classes: int = 4, cls: type[Batches] = Batches) -> Batches:
    """Batches of random vectors ``[size, width]`` and random targets."""
    generator = torch.Generator().manual_seed(6)
    return cls(
        [
            (torch.randn(size, width, generator=generator), torch.randint(0, classes, (size,), generator=generator))
            for _ in range(count)
        ]
    )
