"""Points of a uniform grid: the payload of entropy-constrained quantization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.classes import choose_classes
from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.layout import SIDES, layout_of
from lightning_compress.quantize.grid.matrix import (
    LONGEST_PATH,
    MAX_POINT,
    holds,
    matrix_shape,
    row_scales,
    surely_holds,
)
from lightning_compress.quantize.grid.offsets import Offsets
from lightning_compress.quantize.grid.walk import (
    grouped_words,
    quantized,
    restored_points,
    restored_values,
    scaled_points,
)
from lightning_compress.quantize.payload import StreamSpec, Words
from lightning_compress.runtime import Work
from lightning_compress.runtime.cached import cached_property

_CHUNK_BYTES = 1 << 24
_COLUMN = 40_000  # operations that one column of a trellis takes beside those of its elements


@dataclass(frozen=True, eq=False)
class GridPayload:
    """Whole multiples of a step, or of one step for each row, plus an offset for each column.

    A tensor is seen as a matrix (:func:`matrix_shape`). Its element in row r and column c is
    step · 2^(exponent(r) / 32) · point(r, c) + offset(c), computed in float64 and rounded to the dtype. Made by
    :meth:`of`.

    Attributes:
        words: ``[n]`` what is coded of them, context by context: indices in zigzag (0, −1, 1, −2 … → 0, 1, 2 …).
        groups: how many words each context has.
        step: distance of neighbouring points, positive.
        trellis: number of states of the trellis, 0 for none.
        classes: which rows and columns share a distribution.
        exponents: ``[rows]`` int32, 32nds of an octave; None where all are 0.
        offsets: of the columns; None where there are none.
        shape: sizes of the tensor.
        dtype: type of the tensor.
        values: ``[rows, columns]`` of the dtype, what the payload restores to.
    """

    kind: ClassVar[str] = "grid"

    words: Words
    groups: tuple[int, ...]
    step: float
    trellis: int
    classes: Classes
    exponents: Tensor | None
    offsets: Offsets | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    values: Tensor

    @classmethod
    def of(
        cls,
        points: Tensor,
        step: float,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        *,
        trellis: int = 0,
        exponents: Tensor | None = None,
        offsets: Offsets | None = None,
        classes: Classes | None = None,
    ) -> GridPayload:
        """The payload of these points.

        Args:
            points: ``[rows, columns]`` whole numbers; with a trellis, those that its paths reach from state 0.
            step: see the class, as the rest.
            shape: its matrix has the rows and columns of ``points``.
            dtype: a floating-point type that holds every value.
            trellis: number of states, 0 for none.
            exponents: see :func:`row_scales`.
            offsets: one number for each column, of a tensor that has elements.
            classes: None lets those be chosen that save the most bytes; they never change the tensor.

        Raises:
            ValueError: points that are too large, that no path reaches, or whose values the dtype does not hold; rows
                too long for a trellis; exponents out of range.
        """
        farthest = max(abs(int(extreme)) for extreme in points.aminmax()) if points.numel() else 0
        if farthest > MAX_POINT:
            raise ValueError(f"a point lies at {farthest} steps, expected at most {MAX_POINT}")
        added = None if offsets is None else offsets.values()
        scales = row_scales(step, exponents, len(points))
        if not holds(points, scales, dtype, added):
            raise ValueError(f"points of step {step} reach beyond {dtype}: store such a tensor another way")
        if trellis and points.shape[1] > LONGEST_PATH * len(points):
            raise ValueError(f"rows of {points.shape[1]} weights, {len(points)} of them, are too long for a trellis")
        indices, quantizers = quantized(points, trellis)
        classes = choose_classes(indices, quantizers) if classes is None else classes
        words, groups = grouped_words(indices, quantizers, classes)
        values = scaled_points(points, scales, added, dtype)
        return cls(words, groups, step, trellis, classes, exponents, offsets, shape, dtype, values)

    @cached_property
    def points(self) -> Tensor:
        """``[rows, columns]`` int16, from −32766 to 32766."""
        shape = matrix_shape(self.shape)
        if not len(self.words):
            return torch.empty(shape, dtype=torch.int16)
        return restored_points(self.words, self.groups, self.classes, shape, self.trellis)

    def parameters(self) -> dict[str, Any]:
        """Step, trellis, word width; where there are any: groups, rows, sides with classes, the smallest exponent,
        the unit of the offsets."""
        sides = [side for side in SIDES if getattr(self.classes, side) is not None]
        parameters: dict[str, Any] = {"step": self.step, "trellis": self.trellis, "width": self.words.itemsize}
        if len(self.groups) > 1:
            parameters |= {"groups": list(self.groups)}
        if sides or self.exponents is not None or self.offsets is not None:
            parameters |= {"rows": len(self.values)}
        if sides:
            parameters |= {"classes": sides}
        if self.exponents is not None:
            parameters |= {"exponent": int(self.exponents.min())}
        if self.offsets is not None:
            parameters |= {"offset": self.offsets.unit}
        return parameters

    def streams(self) -> dict[str, Words]:
        """``row_exponents``, ``row_classes``, ``column_classes`` where there are any, and ``indices``."""
        streams: dict[str, Words] = {}
        if self.exponents is not None:
            streams["row_exponents"] = (self.exponents - self.exponents.min()).numpy().astype(np.uint8)
        if self.classes.rows is not None:
            streams["row_classes"] = self.classes.rows
        if self.classes.columns is not None:
            streams["column_classes"] = self.classes.columns
        if self.offsets is not None:
            streams["column_offsets"] = self.offsets.words()
        return streams | ({"indices": self.words} if len(self.words) else {})

    def restore(self) -> Tensor:
        """The tensor."""
        return self.values.reshape(self.shape)

    def split_zeros(self) -> None:
        """See :class:`Payload`; zeros of a grid are frequent indices, and cheap."""

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        return layout_of(parameters, count, dtype)

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count, (rows, columns) = math.prod(shape), matrix_shape(shape)
        if not count:
            return Work(0, 0)
        each = 10 if parameters["trellis"] else 8
        path = _COLUMN * columns if parameters["trellis"] else 0
        return Work(each * count + 64 * (rows + columns) + _CHUNK_BYTES, 24 * count + path + 32 * (rows + columns))

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> GridPayload:
        """See :class:`Payload`."""
        step, trellis, width = parameters["step"], parameters["trellis"], parameters["width"]
        rows, columns = matrix_shape(shape)
        if parameters.get("rows", rows) != rows:
            raise FormatError(f"a grid has {parameters['rows']} rows, expected {rows} in a tensor of shape {shape}")
        classes = Classes(streams.get("row_classes"), streams.get("column_classes"))
        groups = tuple(parameters.get("groups", (rows * columns,)))
        if len(groups) != classes.contexts(2 if trellis else 1):
            raise FormatError(
                f"a grid has {len(groups)} groups, expected {classes.contexts(2 if trellis else 1)} by its classes"
            )
        words = streams.get("indices", np.empty(0, f"<u{width}"))
        if not len(words):  # such a matrix can have any number of rows, and none of them has elements
            empty = torch.empty((rows, columns), dtype=dtype)
            return cls(words, groups, step, trellis, classes, None, None, shape, dtype, empty)
        largest, most = int(words.max()), MAX_POINT - 1 if trellis else 2 * MAX_POINT
        if largest > most:
            raise FormatError(f"the word {largest} stands in a grid, expected at most {most}")
        exponents = None
        if "exponent" in parameters:
            steps = torch.from_numpy(streams["row_exponents"].astype(np.int32))
            if int(steps.min()):
                raise FormatError(f"the smallest row exponent is coded as {int(steps.min())}, expected 0")
            exponents = steps + parameters["exponent"]
        if trellis and columns > LONGEST_PATH * rows:
            raise FormatError(f"a trellis has {rows} rows of {columns}, expected at most {LONGEST_PATH * rows}")
        offsets = None
        if "offset" in parameters:
            offsets = Offsets.from_words(streams["column_offsets"], parameters["offset"])
        added = None if offsets is None else offsets.values()
        scales = row_scales(step, exponents, rows)
        values = restored_values(words, groups, classes, (rows, columns), trellis, scales, added, dtype)
        payload = cls(words, groups, step, trellis, classes, exponents, offsets, shape, dtype, values)
        if not surely_holds(largest + 1, scales, dtype, added) and not holds(payload.points, scales, dtype, added):
            raise FormatError(f"a grid of step {step} reaches beyond {dtype}")
        return payload
