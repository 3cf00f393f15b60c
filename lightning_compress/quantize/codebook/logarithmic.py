"""Logarithmic quantization: a sign and a power of two.

Source: Aji and Heafield 2020, "Compressing Neural Machine Translation Models with 4-bit Precision", section 3: values
are ±s · 2⁻ⁱ, each weight takes the nearest, and s is fitted by least squares in turns with the choice. They keep biases
as they are: a rule of its own does that here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.codebook.outliers import checked_share
from lightning_compress.quantize.codebook.scaled import (
    FittedScaled,
    Granularity,
    check_granularity,
    divided,
    least_squares,
)


@dataclass(frozen=True)
class Logarithmic:
    """Quantize weights to ±s · 2⁻ⁱ, i from 0 to 2ⁿ⁻¹ − 1.

    Without pruning there is no 0: the smallest weights become the smallest power.

    Attributes:
        bits: n, from 2 to 6.
        scope: one s for each ``tensor``, or for each ``row`` (all that follows the first dimension).
        outliers: share of the weights of largest magnitude that are kept apart, 0 to 1.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "logarithmic"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True
    border: ClassVar[float] = 0.5
    label: ClassVar[str] = "logarithmic"
    scale_bytes: ClassVar[int] = 2

    bits: int
    scope: Granularity = "tensor"
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= 6:
            raise PlanError(f"Logarithmic: bits is {self.bits!r}, expected a whole number from 2 to 6")
        check_granularity("Logarithmic", self.scope)
        object.__setattr__(self, "outliers", checked_share("Logarithmic", self.outliers))

    def scaled(self, factor: float) -> Logarithmic:
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
        """The positive powers in rising order, then the negative ones."""
        return torch.cat([self._powers(), -self._powers()])

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """From the largest magnitude on, fitted by least squares."""
        return least_squares(self, groups, alive, groups.abs().amax(1).double())

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """The nearest power; halfway between two lies 1.5 times the smaller."""
        powers = self._powers().to(groups)
        sizes = divided(groups, scales)
        return torch.bucketize(sizes.abs(), 1.5 * powers[:-1], right=True) + (sizes < 0) * len(powers)

    def _powers(self) -> Tensor:
        return 2.0 ** torch.arange(1 - (1 << (self.bits - 1)), 1, dtype=torch.float64)
