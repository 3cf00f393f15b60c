"""Entropy-constrained uniform quantization: points of a grid, few of which are frequent, and what that costs in bits.

Each weight goes to a multiple of one step, and an entropy coder makes the frequent multiples short. That stays within a
quarter of a bit a weight of what any quantizer can do (H. Gish and J. Pierce 1968, "Asymptotically efficient
quantizing"); the trellis and the choice of cheap points take most of that quarter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.grid.matrix import LONGEST_PATH, holds, matrix_shape, row_scales
from lightning_compress.quantize.grid.offsets import Offsets, choose_offsets
from lightning_compress.quantize.grid.payload import GridPayload
from lightning_compress.quantize.grid.points import choose_points
from lightning_compress.quantize.grid.row_feedback import spread_in_steps
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.quantize.interval.indexing import index_pruned
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.quantizer import Storage
from lightning_compress.quantize.scope import Scope, check_scope, group_key
from lightning_compress.weights import standard_deviation

_LARGEST = 32760.0  # steps; points of a trellis may lie a little further out


@dataclass(frozen=True)
class Grid:
    """Quantize weights to whole multiples of a step.

    Attributes:
        step: distance of neighbouring points; with ``relative``, as a multiple of the weights' standard deviation.
        trellis: states of the trellis (4, 8, 16, 32, 64 or 128), which at equal bytes lowers the error; 0 for none. A
            step with a trellis errs as one of about 1.6 times its size without. Vectors never have one, nor have
            matrices of a few long rows.
        relative: whether ``step`` counts standard deviations.
        scope: with ``relative``, whose standard deviation: of all weights of the rule, of their class, of the tensor.
        rate_weight: how much bits count beside squared error. 0 takes the nearest points; 1 takes a cheaper point where
            that adds less error than the bits would take away elsewhere.

    Where the columns of a matrix have means that cost more bytes than they would take once, these are taken off and
    stored apart. A row that is wholly 0 comes back so.

    Tensors that a grid cannot hold are stored whole by the rule's ``Half`` or ``Raw``: those with NaN or infinity, with
    weights beyond 32760 steps, and all where the step is relative and the weights do not vary.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "grid"
    lossy: ClassVar[bool] = True

    step: float
    trellis: int = 8
    relative: bool = False
    scope: Scope = "model"
    rate_weight: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("step", "above"), ("rate_weight", "of at least")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise PlanError(f"Grid: {name} is {value!r}, expected a number such as 0.05")
            if not 0 <= value < math.inf or (name == "step" and not value):
                raise PlanError(f"Grid: {name} is {value}, expected a finite number {least} 0")
            object.__setattr__(self, name, float(value))
        if type(self.trellis) is not int or self.trellis not in (0, *TRELLISES):
            known = ", ".join(map(str, TRELLISES))
            raise PlanError(f"Grid: trellis is {self.trellis!r}, expected a number of states, {known}, or 0 for none")
        if not isinstance(self.relative, bool):
            raise PlanError(f"Grid: relative is {self.relative!r}, write true or false")
        check_scope("Grid", self.scope)

    @property
    def holds_zero(self) -> bool:
        """Yes: 0 is a point."""
        return True

    def group(self, name: str, class_name: str) -> str:
        """Key of the weights that share a step with this tensor."""
        return group_key(self.scope, name, class_name)

    def fit(self, tensors: Sequence[Tensor]) -> FittedGrid:
        """The grid for one group of tensors."""
        return FittedGrid(self, self.step * (standard_deviation(tensors) if self.relative else 1.0))


@dataclass(frozen=True, eq=False)
class GridGuide:
    """What calibration says of one tensor.

    Attributes:
        exponents: ``[rows]`` int32: row r has the step · 2^(exponent / 32). Within ±32000, at most 255 apart. None for
            equal steps.
        factor: ``[columns, columns]`` of :func:`feedback_factor`: errors are fed back to later columns, except where
            weights are pruned as well. None for no feedback.
        spread: ``[rows, rows]`` of :func:`row_spread`: errors are fed back to later rows too; only with a factor. None
            for no such feedback.
    """

    exponents: Tensor | None = None
    factor: Tensor | None = None
    spread: Tensor | None = None


@dataclass(frozen=True)
class FittedGrid:
    """A grid of known step."""

    method: Grid
    step: float

    def store(self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None) -> Payload:
        """See :class:`FittedQuantizer`; ``guide`` is a :class:`GridGuide` or None.

        Raises:
            TypeError: another guide.
            ValueError: a guide for another number of rows, or of exponents out of range.
        """
        if guide is not None and not isinstance(guide, GridGuide):
            raise TypeError(f"Grid is guided by a GridGuide, got {type(guide).__name__}")
        payload = self._on_grid(tensor, pruned, guide or GridGuide())
        if payload is not None:
            return payload
        return storage.store(tensor) if pruned is None else index_pruned(tensor, storage, pruned)

    def _on_grid(self, tensor: Tensor, pruned: Tensor | None, guide: GridGuide) -> GridPayload | None:
        """The payload, None where there can be none."""
        shape = tuple(tensor.shape)
        rows, columns = matrix_shape(shape)
        scales = row_scales(self.step, guide.exponents, rows)
        zeros = None if pruned is None else pruned.reshape(rows, columns)
        weights = _in_steps(tensor.detach().reshape(rows, columns), scales, None)
        if zeros is not None:
            weights.masked_fill_(zeros, 0)
        if not weights.numel() or not _within(weights):
            return None
        states = self.method.trellis if 1 < columns <= LONGEST_PATH * rows else 0
        offsets = None if zeros is not None else choose_offsets(weights, scales)
        if offsets is not None:
            shifted = _in_steps(tensor.detach().reshape(rows, columns), scales, offsets)
            offsets, weights = (offsets, shifted) if _within(shifted) else (None, weights)
        points = choose_points(
            weights,
            states,
            self.method.rate_weight,
            zeros=zeros,
            factor=guide.factor,
            spread=None if guide.spread is None else spread_in_steps(guide.spread, scales),
        )
        points.masked_fill_(~weights.any(1)[:, None], 0)
        if not holds(points, scales, tensor.dtype, None if offsets is None else offsets.values()):
            return None
        return GridPayload.of(
            points, self.step, shape, tensor.dtype, trellis=states, exponents=guide.exponents, offsets=offsets
        )


def _in_steps(matrix: Tensor, scales: Tensor, offsets: Offsets | None) -> Tensor:
    """``[rows, columns]`` float32: weights less their offsets, in units of the row's scale."""
    return ((matrix if offsets is None else matrix - offsets.values()) / scales[:, None]).float()


def _within(weights: Tensor) -> bool:
    return bool((weights.abs() <= _LARGEST).all())
