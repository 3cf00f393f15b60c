"""The rank of each matrix: by a share of its energy, or for a number of bytes of all matrices together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.errors import TrainingError
from lightning_compress.quantize import Spectrum

_HALVINGS = 60
_LOG_HIGHEST, _LOG_LOWEST = 100.0, -200.0  # of thresholds that keep nothing, and all
_LEAST_SENSITIVITY = 0.01  # of a row, over the mean: rows without a gradient are not lost either


@dataclass(frozen=True, eq=False)
class Candidate:
    """A matrix that may be replaced by factors.

    Attributes:
        rows: of the matrix.
        columns: of the matrix.
        element_bytes: of an element.
        spectrum: of the matrix, whose rows are multiplied by ``row_weights``.
        row_weights: ``[rows]``, float64; None for 1.
    """

    rows: int
    columns: int
    element_bytes: int
    spectrum: Spectrum
    row_weights: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, sensitivity: Tensor | None) -> Candidate:
        """The candidate of a weight ``[rows, …]``, with the sensitivity ``[rows]`` of its rows or None."""
        matrix = weight.detach().cpu().reshape(len(weight), -1).double()
        if not bool(torch.isfinite(matrix).all()):
            raise TrainingError("it holds NaN or infinity: start from finite weights")
        weights = None
        if sensitivity is not None:
            known = sensitivity.detach().cpu().double()
            if known.shape != (len(matrix),) or not bool((known >= 0).all()) or not float(known.sum()):
                raise TrainingError(
                    f"its sensitivity is {list(known.shape)}, expected {len(matrix)} finite numbers from 0 that are "
                    "not all 0"
                )
            weights = known.clamp_min(_LEAST_SENSITIVITY * float(known.mean())).div(matrix.shape[1]).sqrt()
            matrix = matrix * weights[:, None]
        rows, columns = matrix.shape
        return cls(rows, columns, weight.element_size(), Spectrum.of(matrix), weights)

    @property
    def whole_bytes(self) -> int:
        """Bytes of the matrix as it is."""
        return self.rows * self.columns * self.element_bytes

    @property
    def bytes_of_rank(self) -> int:
        """Bytes of each rank: a column of the left factor and a row of the right one."""
        return (self.rows + self.columns) * self.element_bytes

    def rank_above(self, threshold: float) -> int:
        """How many singular values have more energy than the threshold for each of their bytes."""
        return int((self.spectrum.energies * self.spectrum.unit**2 > threshold * self.bytes_of_rank).sum())

    def paying(self, rank: int) -> int | None:
        """The rank, at least 1; None where the matrix as it is has fewer bytes."""
        rank = max(1, rank)
        return rank if rank * self.bytes_of_rank < self.whole_bytes else None

    def size(self, rank: int | None) -> int:
        """Bytes with that rank; None for the matrix as it is."""
        return self.whole_bytes if rank is None else rank * self.bytes_of_rank

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Factors ``[rows, rank]`` and ``[rank, columns]``, float64, with zeros beyond the matrix's own rank."""
        left, right = self.spectrum.factors(rank)
        if self.row_weights is not None:
            left = left / self.row_weights[:, None]
        missing = rank - left.shape[1]
        return torch.nn.functional.pad(left, (0, missing)), torch.nn.functional.pad(right, (0, 0, 0, missing))


def ranks_by_energy(candidates: Mapping[str, Candidate], energy: float) -> dict[str, int | None]:
    """The smallest rank of each matrix that keeps this share of its sum of squares; None for one that stays whole."""
    return {name: each.paying(each.spectrum.rank_of(energy)) for name, each in candidates.items()}


def ranks_by_bytes(candidates: Mapping[str, Candidate], target: int, others: int = 0) -> dict[str, int | None]:
    """Ranks for at most ``target`` bytes of all matrices together and ``others``.

    Without sensitivities each matrix keeps the same share of its sum of squares, the largest that fits. With them, a
    singular value is kept if its energy is above a threshold for each of its bytes, the smallest that fits (Lagrangian
    relaxation).

    Raises:
        TrainingError: rank 1 of all matrices has more bytes.
    """
    is_weighted = any(each.row_weights is not None for each in candidates.values())

    def at(level: float) -> dict[str, int | None]:
        """The ranks for a level from 0, which keeps nearly nothing, to 1."""
        if not is_weighted:
            return ranks_by_energy(candidates, level)
        threshold = math.exp(_LOG_HIGHEST - level * (_LOG_HIGHEST - _LOG_LOWEST))
        return {name: each.paying(each.rank_above(threshold)) for name, each in candidates.items()}

    def size(ranks: Mapping[str, int | None]) -> int:
        return others + sum(candidates[name].size(rank) for name, rank in ranks.items())

    least = size(at(0.0))
    if least > target:
        raise TrainingError(
            f"the target is {target:,} bytes, and with factors of rank 1 there are {least:,}, of which {others:,} are "
            "not factorized: give a larger target, or patterns of more modules"
        )
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if size(at(middle)) <= target else (low, middle)
    return at(low)
