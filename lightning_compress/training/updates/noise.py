"""Quant-Noise: each training step quantizes a random share of the weights, and computes with the others exactly.

A. Fan et al. 2020, "Training with Quantization Noise for Extreme Model Compression", section 4: the gradient of weights
that are not quantized has no error, which matters more the coarser the quantizer is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_compress.errors import PlanError

_STEPS = 1 << 32  # of one seed, before the numbers of the next


@dataclass(frozen=True)
class QuantNoise:
    """Which weights a training step quantizes.

    The random numbers of a step depend on the seed and on the number of the step alone. So they are the same on every
    rank and in a run that resumes, and no other random number changes.

    Attributes:
        share: of the weights that are quantized, above 0, up to 1, where all are; the p of the paper.
        block: weights that are chosen together: so many neighbours, or whole rows.
        seed: of the random numbers.

    Raises:
        PlanError: a value out of range.
    """

    share: float
    block: int | Literal["row"] = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, (int, float)) or not 0 < self.share <= 1:
            raise PlanError(f"noise is {self.share!r}, expected a share of the weights above 0, up to 1, such as 0.5")
        if self.block != "row" and (type(self.block) is not int or self.block < 1):
            raise PlanError(f"QuantNoise: block is {self.block!r}, expected a whole number from 1, or 'row'")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 31:
            raise PlanError(f"QuantNoise: seed is {self.seed!r}, expected a whole number from 0 to 2³¹ − 1")

    def generator(self, step: int, device: torch.device) -> torch.Generator:
        """The random numbers of a step, for all tensors in order."""
        return torch.Generator(device).manual_seed(self.seed * _STEPS + step)

    def choose(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """Which weights are quantized: bool, of the shape of the tensor."""
        size = math.prod(tensor.shape[1:]) if self.block == "row" else self.block
        blocks = -(-tensor.numel() // size)
        chosen = torch.rand(blocks, generator=generator, device=tensor.device) < self.share
        return chosen.repeat_interleave(size)[: tensor.numel()].reshape(tensor.shape)


def noise_of(noise: QuantNoise | float | None) -> QuantNoise | None:
    """A share as the settings that it stands for; None and settings as they are.

    Raises:
        PlanError: neither of these, or a share out of range.
    """
    return noise if noise is None or isinstance(noise, QuantNoise) else QuantNoise(noise)
