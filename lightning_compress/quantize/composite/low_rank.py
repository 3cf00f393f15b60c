"""Low rank: a matrix as the product of two thin ones.

The best product of rank k, by squared error, is the truncated singular value decomposition (Eckart and Young 1936).
The roots of the singular values go to either side, so both factors have weights of like size and quantize alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
        is_wide = matrix.shape[0] < matrix.shape[1]
        unit = power_of_two_near(float(matrix.abs().max()) or 1.0)
        left, right = _factors((matrix.t() if is_wide else matrix) / unit, self._rank_of)
        left, right = left * math.sqrt(unit), right * (unit / math.sqrt(unit))
        if is_wide:
            left, right = right.t().contiguous(), left.t().contiguous()
        left, right = left.to(tensor.dtype), right.to(tensor.dtype)
        return (left, right) if 0 < left.numel() + right.numel() < tensor.numel() else None

    def _rank_of(self, energies: Tensor) -> int:
        """The rank for squared singular values in falling order."""
        if self.energy is None:
            return self.rank or 0
        kept = energies.cumsum(0)
        return min(int(torch.searchsorted(kept, self.energy * kept[-1])) + 1, MAX_RANK)


def _factors(matrix: Tensor, rank_of: Callable[[Tensor], int]) -> tuple[Tensor, Tensor]:
    """``[r, k]`` and ``[k, c]`` of a float64 matrix with r ≥ c, by the eigenvectors of its columns' products."""
    ascending, vectors = torch.linalg.eigh(matrix.t() @ matrix)
    energies = ascending.flip(0).clamp(min=0)
    rank = min(rank_of(energies), int(torch.count_nonzero(energies)))
    basis, roots = vectors.flip(1)[:, :rank], energies[:rank] ** 0.25
    return matrix @ basis / roots, (basis * roots).t().contiguous()
