"""Mid-rise quantization: every weight becomes an odd multiple of half a step, ±½, ±1½, ±2½ … steps.

Source: Jayant and Noll 1984, "Digital Coding of Waveforms", chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize import Codebook, IndexedPayload, Storage, payload_from_indices, restored
from lightning_compress.weights import standard_deviation

LEVELS = 256


@dataclass(frozen=True)
class MidRise:
    """Quantize weights to odd multiples of half a step; weights beyond 128 steps are outliers.

    Attributes:
        step: in standard deviations of the tensor.

    Raises:
        PlanError: a step that is not positive.
    """

    id: ClassVar[str] = "mid-rise"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True

    step: float

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise PlanError(f"MidRise: step is {self.step!r}, expected a positive number such as 0.1")

    @property
    def label(self) -> str:
        return f"mid-rise {self.step:g}"

    def scaled(self, factor: float) -> MidRise:
        return replace(self, step=self.step * factor)

    def group(self, name: str, class_name: str) -> str:
        return name

    def fit(self, tensors: Sequence[Tensor]) -> FittedMidRise:
        return FittedMidRise(self.step * standard_deviation(tensors))


@dataclass(frozen=True)
class FittedMidRise:
    """Mid-rise quantization with a known step."""

    step: float

    @property
    def codebook(self) -> Codebook:
        return Codebook(first=(0.5 - LEVELS / 2) * self.step, step=self.step, levels=LEVELS)

    def indices(self, weights: Tensor) -> Tensor:
        numbers = (weights.double() / self.step).floor() + LEVELS // 2
        is_inside = (numbers >= 0) & (numbers < LEVELS)
        return torch.where(is_inside, numbers, self.codebook.outlier).to(torch.int32)

    def store(
        self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None
    ) -> IndexedPayload:
        return payload_from_indices(tensor, self.codebook, self.indices, storage, pruned)

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        return restored(self, tensor, storage, pruned, guide)
