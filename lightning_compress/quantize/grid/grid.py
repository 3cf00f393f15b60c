"""Entropy-constrained uniform quantization: each weight becomes a multiple of one step, chosen by error and by bits.

An entropy coder gives the frequent multiples short codes. At high rates that is within a quarter of a bit a weight of
the best any quantizer can do (H. Gish and J. Pierce 1968, "Asymptotically efficient quantizing"); the trellis and the
choice of points by rate gain most of that quarter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.grid.guide import GridGuide, checked_guide
from lightning_compress.quantize.grid.matrix import LONGEST_PATH, holds, matrix_shape, row_scales, surely_holds
from lightning_compress.quantize.grid.offsets import Offsets, choose_offsets
from lightning_compress.quantize.grid.payload import GridPayload
from lightning_compress.quantize.grid.points import choose_points, largest_error
from lightning_compress.quantize.grid.row_feedback import spread_in_steps
from lightning_compress.quantize.grid.steps import LARGEST, in_steps, nearest_values, within
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.quantize.interval.indexed_payloads import store_pruned
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.quantizer import Storage, restored
from lightning_compress.quantize.sharing import Sharing, check_sharing, group_key
from lightning_compress.weights import standard_deviation


@dataclass(frozen=True)
class Grid:
    """Quantize weights to whole multiples of a step.

    Attributes:
        step: distance of neighbouring points; with ``relative``, as a multiple of the weights' standard deviation.
        trellis: states of the trellis (4, 8, 16, 32, 64 or 128), which lowers the error at equal bytes; 0 for none. A
            step with a trellis has the error of one about 1.6 times as large without. Vectors and matrices of a few
            long rows are quantized without a trellis.
        relative: whether ``step`` is in standard deviations.
        scope: with ``relative``, whose standard deviation: of all weights of the rule, of their class, of the tensor.
        rate_weight: weight of the bits beside the squared error. 0 takes the nearest points; 1 takes a cheaper point
            where that adds less error than its bits would remove elsewhere.

    The means of a matrix's columns are subtracted and stored apart where that saves bytes. A row of zeros stays one.

    Tensors that a grid cannot hold are stored whole by the rule's ``Half`` or ``Raw``: those with NaN or infinity, with
    weights beyond 32760 steps, and all where the step is relative and the weights do not vary.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "grid"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True  # 0 is a point
    takes_factors: ClassVar[bool] = False

    step: float
    trellis: int = 8
    relative: bool = False
    scope: Sharing = "model"
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
        check_sharing("Grid", self.scope)

    @property
    def label(self) -> str:
        """The step."""
        return f"grid {self.step:g}"

    def scaled(self, factor: float) -> Grid:
        """With a step this many times as large."""
        return replace(self, step=self.step * factor)

    def group(self, name: str, class_name: str) -> str:
        """Key of the weights that share a step with this tensor."""
        return group_key(self.scope, name, class_name)

    def fit(self, tensors: Sequence[Tensor]) -> FittedGrid:
        """The grid for one group of tensors."""
        return FittedGrid(self, self.step * (standard_deviation(tensors) if self.relative else 1.0))


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
        guide = checked_guide(guide)
        divided = self._divide(tensor.detach(), pruned, guide)
        placed = None if divided is None else self._place(divided, tensor.dtype, guide)
        if divided is None or placed is None:
            return storage.store(tensor) if pruned is None else store_pruned(tensor, storage, pruned)
        return GridPayload.of(
            placed.points,
            self.step,
            tuple(tensor.shape),
            tensor.dtype,
            trellis=placed.states,
            exponents=guide.exponents,
            offsets=divided.offsets,
        )

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        """See :class:`FittedQuantizer`.

        Computed on the tensor's device where the nearest points are taken, that is for ``trellis=0, rate_weight=0``
        and no feedback of errors. The trellis, the rates of points and the feedback are compiled loops and counts on
        the CPU: for these the tensor moves there and back.
        """
        guide = checked_guide(guide)
        if self.method.trellis or self.method.rate_weight or guide.factor is not None:
            return restored(self, tensor, storage, pruned, guide)
        divided = self._divide(tensor.detach(), pruned, guide)
        if divided is None or not divided.nearest_are_held(tensor.dtype):
            values = tensor.detach().clone() if storage is None else storage.quantize(tensor)
            return values if pruned is None else values.masked_fill_(pruned.reshape(tensor.shape), 0)
        return nearest_values(divided.weights, divided.scales, divided.added, tensor.dtype).reshape(tensor.shape)

    def error_bound(self, tensor: Tensor, payload: Payload, *, guide: object = None) -> Tensor | float | None:
        """See :class:`FittedQuantizer`: a number of steps of the row, see :func:`largest_error`; none with feedback."""
        guide = checked_guide(guide)
        if guide.factor is not None:
            return None
        steps = largest_error(bool(self.method.trellis), bool(self.method.rate_weight))
        if guide.exponents is None:
            return steps * self.step
        rows, columns = matrix_shape(tuple(tensor.shape))
        return (steps * row_scales(self.step, guide.exponents, rows))[:, None].expand(rows, columns)

    def _divide(self, tensor: Tensor, pruned: Tensor | None, guide: GridGuide) -> _Divided | None:
        """A tensor in units of the step; None where that is 0, or a grid does not reach all weights."""
        if not self.step:  # relative to weights that do not vary, or that pruning has emptied
            return None
        rows, columns = matrix_shape(tuple(tensor.shape))
        matrix = tensor.reshape(rows, columns)
        if not matrix.numel():
            return None
        scales = row_scales(self.step, guide.exponents, rows).to(tensor.device)
        zeros = None if pruned is None else pruned.reshape(rows, columns)
        weights, largest = in_steps(matrix, scales, zeros=zeros)
        if not within(largest):
            return None
        if zeros is None and bool(largest.all()):
            offsets = choose_offsets(weights, scales)
            if offsets is not None:
                added = offsets.values().to(tensor.device)
                shifted, largest_shifted = in_steps(matrix, scales, added)
                if within(largest_shifted):
                    return _Divided(shifted, largest_shifted, scales, None, offsets, added)
        return _Divided(weights, largest, scales, zeros, None, None)

    def _place(self, divided: _Divided, dtype: torch.dtype, guide: GridGuide) -> _Placed | None:
        """The points of a tensor; None where its dtype does not hold all of them."""
        weights, scales = divided.weights, divided.scales
        rows, columns = weights.shape
        states = self.method.trellis if 1 < columns <= LONGEST_PATH * rows else 0
        points = choose_points(
            weights,
            states,
            self.method.rate_weight,
            zeros=divided.zeros,
            factor=guide.factor,
            spread=None if guide.spread is None else spread_in_steps(guide.spread, scales),
        )
        if not bool(divided.largest.all()):
            points.masked_fill_((divided.largest == 0)[:, None], 0)
        return _Placed(points, states) if holds(points, scales, dtype, divided.added) else None


class _Divided(NamedTuple):
    """A tensor in units of the step.

    Attributes:
        weights: ``[rows, columns]`` float32, less the offsets of their columns.
        largest: ``[rows]``, the largest magnitude of each row.
        scales: ``[rows]`` float64: the step of each row.
        zeros: ``[rows, columns]`` bool: the pruned weights; None where nothing is pruned.
        offsets: of the columns; None where there are none.
        added: ``[columns]`` float64: their values; None where there are none.
    """

    weights: Tensor
    largest: Tensor
    scales: Tensor
    zeros: Tensor | None
    offsets: Offsets | None
    added: Tensor | None

    def nearest_are_held(self, dtype: torch.dtype) -> bool:
        """Whether a dtype holds the points nearest to the weights."""
        return surely_holds(LARGEST, self.scales, dtype, self.added) or holds(
            self.weights.round(), self.scales, dtype, self.added
        )


class _Placed(NamedTuple):
    """A tensor on the grid.

    Attributes:
        points: ``[rows, columns]`` int16.
        states: of the trellis, 0 for none.
    """

    points: Tensor
    states: int
