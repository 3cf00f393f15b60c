"""Granularities: single weights, rows, columns and blocks of a tensor, or whole structures of a module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from lightning_compress.errors import TrainingError
from lightning_compress.training.structures import Kind

Granularity = Literal["weight", "row", "column", "block", "head", "neuron", "channel", "layer"]


@dataclass(frozen=True)
class Grouping:
    """How the weights of a tensor are grouped.

    A tensor ``[rows, …]`` is seen as a matrix whose columns are all sizes but the first. Heads, neurons, channels and
    layers lie in several tensors: :mod:`lightning_compress.training.structures` finds them, and means and spreads here
    are those of single tensors.

    Attributes:
        granularity: ``weight``, ``row``, ``column`` or ``block``; ``head``, ``neuron``, ``channel`` or ``layer``.
        block: rows and columns of a block.

    Raises:
        TrainingError: an unknown granularity, or a block without size.
    """

    granularity: Granularity = "weight"
    block: tuple[int, int] = (4, 4)

    def __post_init__(self) -> None:
        if self.granularity not in get_args(Granularity):
            raise TrainingError(
                f"granularity {self.granularity!r} is unknown; write one of {', '.join(get_args(Granularity))}"
            )
        if len(self.block) != 2 or min(self.block) < 1:
            raise TrainingError(f"block is {self.block!r}, expected numbers of rows and columns, such as (4, 4)")

    @property
    def kind(self) -> Kind | None:
        """The kind of structure that is pruned; None for groups inside tensors."""
        return next((kind for kind in get_args(Kind) if kind == self.granularity), None)

    def check(self, name: str, tensor: Tensor) -> None:
        """Raise a TrainingError where a tensor cannot be grouped so."""
        if self.granularity == "weight":
            return
        shape = tuple(tensor.shape)
        if len(shape) < 2:
            raise TrainingError(
                f"tensor {name!r} has the shape {shape} and no {self.granularity}s: leave it out, or prune weights"
            )
        rows, columns = shape[0], math.prod(shape[1:])
        if self.granularity == "block" and (rows % self.block[0] or columns % self.block[1]):
            raise TrainingError(
                f"tensor {name!r} has {rows} rows and {columns} columns, which blocks of {self.block} do not divide: "
                "take blocks that do, or leave the tensor out"
            )

    def means(self, scores: Tensor) -> Tensor:
        """``[groups]``: the mean score of each group."""
        if self.granularity == "weight":
            return scores.reshape(-1)
        matrix = scores.reshape(len(scores), -1)
        if self.granularity == "block":
            rows, columns = self.block
            parts = matrix.reshape(len(matrix) // rows, rows, matrix.shape[1] // columns, columns)
            return parts.mean((1, 3)).reshape(-1)
        return matrix.mean(1 if self.granularity == "row" else 0)

    def spread(self, groups: Tensor, like: Tensor) -> Tensor:
        """A value for each weight of a tensor, from the value of its group; the shape of ``like``."""
        if self.granularity == "weight":
            return groups.reshape(like.shape)
        matrix = like.reshape(len(like), -1)
        if self.granularity == "block":
            rows, columns = self.block
            grid = groups.reshape(len(matrix) // rows, matrix.shape[1] // columns)
            wide = grid.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        elif self.granularity == "row":
            wide = groups[:, None].expand_as(matrix)
        else:
            wide = groups[None, :].expand_as(matrix)
        return wide.reshape(like.shape)
