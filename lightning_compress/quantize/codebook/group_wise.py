"""Group-wise uniform quantization: whole numbers, times a scale for each few weights of a row.

Sources: Shen et al. 2020, "Q-BERT" (groups); Dettmers et al. 2023, "QLoRA", section 3 (scales in 8 bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.codebook.outliers import checked_share
from lightning_compress.quantize.codebook.scaled import FittedScaled, divided, least_squares

_LARGEST_GROUP = 1 << 20


@dataclass(frozen=True)
class GroupWise:
    """Quantize weights to k · s, k from −(2ⁿ⁻¹ − 1) to 2ⁿ⁻¹ − 1, s fitted by least squares to each group of a row.

    Attributes:
        bits: n, from 2 to 8.
        size: weights in a group, from 1 on; the last group of a row may have fewer.
        scale_bits: bits of a stored scale, 8 or 16; scales are multiples of 1/255 or 1/65535 of the tensor's largest.
        outliers: share of the weights of largest magnitude that are kept apart, 0 to 1.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "group-wise"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True
    border: ClassVar[float] = 0.5
    label: ClassVar[str] = "group-wise"

    bits: int
    size: int = 64
    scale_bits: int = 8
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= 8:
            raise PlanError(f"GroupWise: bits is {self.bits!r}, expected a whole number from 2 to 8")
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST_GROUP:
            raise PlanError(f"GroupWise: size is {self.size!r}, expected a whole number from 1 to {_LARGEST_GROUP}")
        if type(self.scale_bits) is not int or self.scale_bits not in (8, 16):
            raise PlanError(f"GroupWise: scale_bits is {self.scale_bits!r}, expected 8 or 16")
        object.__setattr__(self, "outliers", checked_share("GroupWise", self.outliers))

    def scaled(self, factor: float) -> GroupWise:
        """Itself: it has no step."""
        return self

    def group(self, name: str, class_name: str) -> str:
        """Each tensor is fitted alone."""
        return name

    def fit(self, tensors: Sequence[Tensor]) -> FittedScaled:
        """See :class:`Quantizer`."""
        return FittedScaled.of(self, tensors)

    @property
    def scale_bytes(self) -> int:
        """See :class:`ScaledMethod`, as for the methods below."""
        return self.scale_bits // 8

    def group_size(self, row: int) -> int | None:
        """The size of the groups."""
        return self.size

    def values(self) -> Tensor:
        """The whole numbers."""
        return torch.arange(-self._largest, self._largest + 1, dtype=torch.float64)

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """From that of the largest magnitude on, fitted by least squares."""
        return least_squares(self, groups, alive, groups.abs().amax(1).double() / self._largest)

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """The nearest whole number, halves to the even one."""
        most = self._largest
        return divided(groups, scales).round_().clamp_(-most, most).long() + most

    @property
    def _largest(self) -> int:
        return (1 << (self.bits - 1)) - 1
