"""Binary weights: one sign each, and a scale.

Sources: Courbariaux, Bengio and David 2015, "BinaryConnect" (the sign); Rastegari et al. 2016, "XNOR-Net", section 3.1
(the scale of least squared error is the mean magnitude).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.quantize.codebook.outliers import checked_share
from lightning_compress.quantize.codebook.scaled import FittedScaled, Granularity, check_granularity, mean_size


@dataclass(frozen=True)
class Binary:
    """Quantize weights to ±s, s the mean magnitude; 0 counts as positive, so it cannot stand behind ``Prune``.

    Attributes:
        scope: one s for each ``tensor``, or for each ``row`` (all that follows the first dimension).
        outliers: share of the weights of largest magnitude that are kept apart, 0 to 1.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "binary"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = False
    takes_factors: ClassVar[bool] = True
    border: ClassVar[float] = 0.5
    label: ClassVar[str] = "binary"
    scale_bytes: ClassVar[int] = 2

    scope: Granularity = "row"
    outliers: float = 0.0

    def __post_init__(self) -> None:
        check_granularity("Binary", self.scope)
        object.__setattr__(self, "outliers", checked_share("Binary", self.outliers))

    def scaled(self, factor: float) -> Binary:
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
        """−1 and 1."""
        return torch.tensor([-1.0, 1.0], dtype=torch.float64)

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """The mean magnitude."""
        return mean_size(groups, alive)

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """The sign."""
        return (groups >= 0).long()
