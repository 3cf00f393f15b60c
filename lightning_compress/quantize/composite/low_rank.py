"""Low rank: a matrix as the product of two thin ones.

The best product of rank k, by squared error, is the truncated singular value decomposition (Eckart and Young 1936).
The roots of the singular values go to either side, so both factors have weights of like size and quantize alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.weights import power_of_two_near

MAX_RANK = 1024


@dataclass(frozen=True)
class LowRank:
    """Store a matrix as two factors; the methods after it in the rule treat each of them as a tensor.

    A tensor ``[r, c, …]`` is taken as ``[r, c · …]``. One that has fewer than two dimensions, holds NaN or infinity, or
    whose factors would have as many weights as itself is treated whole.

    Attributes:
        rank: columns of the left factor and rows of the right one, 1 to 1024; or
        energy: the share (above 0, below 1) of the sum of squares that the product keeps at least, up to rank 1024.

    Raises:
        PlanError: neither or both are given, or a value is out of range.
    """

    id: ClassVar[str] = "low-rank"
    role: ClassVar[str] = "factor"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = False
    label: ClassVar[str] = "low-rank"

    rank: int | None = None
    energy: float | None = None

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.energy is None):
            raise PlanError(
                f"LowRank: rank is {self.rank!r} and energy is {self.energy!r}, expected exactly one of them"
            )
        if self.rank is not None and (type(self.rank) is not int or not 1 <= self.rank <= MAX_RANK):
            raise PlanError(f"LowRank: rank is {self.rank!r}, expected a whole number from 1 to {MAX_RANK}")
        if self.energy is None:
            return
        if isinstance(self.energy, bool) or not isinstance(self.energy, (int, float)) or not 0 < self.energy < 1:
            raise PlanError(f"LowRank: energy is {self.energy!r}, expected a fraction between 0 and 1 such as 0.9")
        object.__setattr__(self, "energy", float(self.energy))

    def scaled(self, factor: float) -> LowRank:
        """Itself: it has no step."""
        return self

    def factor(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """Left ``[rows, k]`` and right ``[k, columns]`` factor, in the tensor's dtype; None where it stays whole."""
        if tensor.dim() < 2 or not tensor.numel():
            return None
        matrix = tensor.detach().cpu().reshape(len(tensor), -1).double()
        if not bool(torch.isfinite(matrix).all()):
            return None
        spectrum = Spectrum.of(matrix)
        left, right = (each.to(tensor.dtype) for each in spectrum.factors(self._rank_of(spectrum)))
        return (left, right) if 0 < left.numel() + right.numel() < tensor.numel() else None

    def _rank_of(self, spectrum: Spectrum) -> int:
        return self.rank or 0 if self.energy is None else min(spectrum.rank_of(self.energy), MAX_RANK)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular value decomposition of a matrix, of which factors of any rank are made.

    Attributes:
        energies: squared singular values in falling order, over the square of ``unit``.
        unit: power of two near the largest magnitude.
    """

    energies: Tensor
    unit: float
    _tall: Tensor
    _basis: Tensor
    _is_wide: bool

    @classmethod
    def of(cls, matrix: Tensor) -> Spectrum:
        """The spectrum of a finite matrix ``[rows, columns]``, float64, by the eigenvectors of the smaller side."""
        is_wide = matrix.shape[0] < matrix.shape[1]
        unit = power_of_two_near(float(matrix.abs().max()) or 1.0)
        tall = (matrix.t() if is_wide else matrix) / unit
        ascending, vectors = torch.linalg.eigh(tall.t() @ tall)
        return cls(ascending.flip(0).clamp(min=0), unit, tall, vectors.flip(1), is_wide)

    def rank_of(self, energy: float) -> int:
        """The smallest rank whose product keeps this share of the sum of squares."""
        kept = self.energies.cumsum(0)
        return int(torch.searchsorted(kept, energy * kept[-1])) + 1

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """``[rows, k]`` and ``[k, columns]``, float64: k is the rank, or that of the matrix, if it is smaller."""
        rank = min(rank, int(torch.count_nonzero(self.energies)))
        basis, roots = self._basis[:, :rank], self.energies[:rank] ** 0.25
        left, right = self._tall @ basis / roots, (basis * roots).t().contiguous()
        left, right = left * math.sqrt(self.unit), right * (self.unit / math.sqrt(self.unit))
        return (right.t().contiguous(), left.t().contiguous()) if self._is_wide else (left, right)
