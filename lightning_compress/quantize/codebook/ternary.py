"""Ternary weights: −s, 0 or s.

Source: Li and Liu 2016, "Ternary Weight Networks", section 2: weights beyond Δ = 0.7 · E|w| are ±s, s their mean
magnitude, which is near the least squared error for normal and uniform weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.quantize.codebook.outliers import checked_share
from lightning_compress.quantize.codebook.scaled import FittedScaled, Granularity, check_granularity, mean_size

_THRESHOLD = 0.7


@dataclass(frozen=True)
class Ternary:
    """Quantize weights to −s, 0 and s.

    Attributes:
        scope: one s and one threshold for each ``tensor``, or for each ``row`` (all that follows the first dimension).
        outliers: share of the weights of largest magnitude that are kept apart, 0 to 1.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "ternary"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True
    border: ClassVar[float] = 1.0
    label: ClassVar[str] = "ternary"
    scale_bytes: ClassVar[int] = 2

    scope: Granularity = "row"
    outliers: float = 0.0

    def __post_init__(self) -> None:
        check_granularity("Ternary", self.scope)
        object.__setattr__(self, "outliers", checked_share("Ternary", self.outliers))

    def scaled(self, factor: float) -> Ternary:
        """Itself: it has no step."""
        return self

    def group(self, name: str, class_name: str) -> str:
        """Each tensor is fitted alone."""
        return name

    def fit(self, tensors: Sequence[Tensor]) -> FittedScaled:
        """See :class:`Quantizer`."""
        return FittedScaled.of(self, tensors)

    def group_size(self, row: int) -> int | None:
        """See :class:`ScaledMethod`, as for the methods below."""
        return row if self.scope == "row" else None

    def values(self) -> Tensor:
        """−1, 0 and 1."""
        return torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """The mean magnitude beyond the threshold."""
        large = _beyond(groups, alive)
        return mean_size(groups * large, large)

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """The sign, and 0 within the threshold."""
        return (groups.sign() * _beyond(groups, alive)).long() + 1


def _beyond(groups: Tensor, alive: Tensor) -> Tensor:
    """``[groups, size]``, bool: which weights are larger than the threshold of their group."""
    return groups.abs() > _THRESHOLD * mean_size(groups, alive)[:, None]
