"""Points of a uniform grid: the payload of entropy-constrained quantization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.classes import choose_classes
from lightning_compress.quantize.grid.contexts import MAX_CONTEXTS, Classes, group, ungroup, ungroup_along_trellis
from lightning_compress.quantize.grid.matrix import (
    EXPONENT_SPREAD,
    LONGEST_PATH,
    MAX_EXPONENT,
    MAX_POINT,
    holds,
    matrix_shape,
    row_scales,
    unzigzag,
    zigzag,
)
from lightning_compress.quantize.grid.offsets import Offsets
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, Bytes, indices_of, points_of
from lightning_compress.quantize.payload import StreamSpec, Words
from lightning_compress.runtime import Work

GRID_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SIDES = ("rows", "columns")
_CHUNK = 1 << 18
_CHUNK_BYTES = 64 * _CHUNK
_COLUMN = 40_000  # operations that one column of a trellis takes beside those of its elements


@dataclass(frozen=True, eq=False)
class GridPayload:
    """Whole multiples of a step, or of one step for each row, plus an offset for each column.

    A tensor is seen as a matrix (:func:`matrix_shape`). Its element in row r and column c is
    step · 2^(exponent(r) / 32) · point(r, c) + offset(c), computed in float64 and rounded to the dtype. Made by
    :meth:`of`.

    Attributes:
        points: ``[rows, columns]`` int16, from −32766 to 32766.
        words: ``[n]`` what is coded of them, context by context: indices in zigzag (0, −1, 1, −2 … → 0, 1, 2 …).
        groups: how many words each context has.
        step: distance of neighbouring points, positive.
        trellis: number of states of the trellis, 0 for none.
        classes: which rows and columns share a distribution.
        exponents: ``[rows]`` int32, 32nds of an octave; None where all are 0.
        offsets: of the columns; None where there are none.
        shape: sizes of the tensor.
        dtype: type of the tensor.
    """

    kind: ClassVar[str] = "grid"

    points: Tensor
    words: Words
    groups: tuple[int, ...]
    step: float
    trellis: int
    classes: Classes
    exponents: Tensor | None
    offsets: Offsets | None
    shape: tuple[int, ...]
    dtype: torch.dtype

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
        if points.numel() and int(points.abs().max()) > MAX_POINT:
            raise ValueError(f"a point lies at {int(points.abs().max())} steps, expected at most {MAX_POINT}")
        added = None if offsets is None else offsets.values()
        if not holds(points, row_scales(step, exponents, len(points)), dtype, added):
            raise ValueError(f"points of step {step} reach beyond {dtype}: store such a tensor another way")
        columns = np.ascontiguousarray(points.numpy().T).astype(np.int16, copy=False)
        indices, quantizers = columns, None
        if trellis:
            if len(columns) > LONGEST_PATH * len(points):
                raise ValueError(f"rows of {len(columns)} weights, {len(points)} of them, are too long for a trellis")
            indices = indices_of(columns)
            quantizers = TRELLISES[trellis].quantizers(indices)
            if not np.array_equal(points_of(indices, quantizers), columns):
                raise ValueError(f"points lie beside every path of the trellis of {trellis} states")
        classes = choose_classes(indices, quantizers) if classes is None else classes
        contexts = classes.contexts(2 if trellis else 1)
        words, groups = group(zigzag(indices), classes.map(*matrix_shape(shape), quantizers), contexts)
        return cls(points, words, groups, step, trellis, classes, exponents, offsets, shape, dtype)

    def scaled(self, by: float) -> GridPayload:
        """The same indices for weights that are this many times as large."""
        offsets = None if self.offsets is None else replace(self.offsets, unit=self.offsets.unit * by)
        return replace(self, step=self.step * by, offsets=offsets)

    def parameters(self) -> dict[str, Any]:
        """Step, trellis, word width; where there are any: groups, rows, sides with classes, the smallest exponent,
        the unit of the offsets."""
        sides = [side for side in _SIDES if getattr(self.classes, side) is not None]
        parameters: dict[str, Any] = {"step": self.step, "trellis": self.trellis, "width": self.words.itemsize}
        if len(self.groups) > 1:
            parameters |= {"groups": list(self.groups)}
        if sides or self.exponents is not None or self.offsets is not None:
            parameters |= {"rows": len(self.points)}
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
        if not self.points.numel():
            return torch.empty(self.shape, dtype=self.dtype)
        scales = row_scales(self.step, self.exponents, len(self.points))
        added = None if self.offsets is None else self.offsets.values()
        result = torch.empty(self.points.shape, dtype=self.dtype)
        size = max(1, _CHUNK // max(1, self.points.shape[1]))
        for start in range(0, len(result), size):
            part = slice(start, start + size)
            values = self.points[part].double().mul_(scales[part, None])
            result[part] = values if added is None else values.add_(added)
        return result.reshape(self.shape)

    def split_zeros(self) -> None:
        """See :class:`Payload`; zeros of a grid are frequent indices, and cheap."""

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        if dtype not in GRID_DTYPES:
            raise FormatError(f"grid payload of {dtype}, expected a floating-point tensor of 16 to 64 bits")
        step, trellis, width = (parameters.get(key) for key in ("step", "trellis", "width"))
        if not isinstance(step, float) or not 0 < step < math.inf:
            raise FormatError(f"the step of a grid is {step!r}, expected a positive float")
        if type(trellis) is not int or trellis not in (0, *TRELLISES):
            raise FormatError(f"a trellis of {trellis!r} states is unknown, expected one of 0, {_known()}")
        if type(width) is not int or width not in (1, 2):
            raise FormatError(f"grid indices have words of {width!r} bytes, expected 1 or 2")
        specs, groups = _side_streams(parameters, count), _groups(parameters, count)
        indices = {"indices": StreamSpec(count, width, groups)} if count else {}
        return specs | indices

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
            empty = torch.empty((rows, columns), dtype=torch.int16)
            return cls(empty, words, groups, step, trellis, classes, None, None, shape, dtype)
        largest = MAX_POINT - 1 if trellis else 2 * MAX_POINT
        if int(words.max(initial=0)) > largest:
            raise FormatError(f"the word {int(words.max())} stands in a grid, expected at most {largest}")
        exponents = None
        if "exponent" in parameters:
            steps = torch.from_numpy(streams["row_exponents"].astype(np.int32))
            if int(steps.min()):
                raise FormatError(f"the smallest row exponent is coded as {int(steps.min())}, expected 0")
            exponents = steps + parameters["exponent"]
        if trellis:
            if columns > LONGEST_PATH * rows:
                raise FormatError(f"a trellis has {rows} rows of {columns}, expected at most {LONGEST_PATH * rows}")
            taken, quantizers = ungroup_along_trellis(words, groups, classes, (rows, columns), TRELLISES[trellis])
        else:
            taken, quantizers = ungroup(words, groups, classes.map(rows, columns)), None
        points = _points_of_words(taken, quantizers)
        offsets = None
        if "offset" in parameters:
            offsets = Offsets.from_words(streams["column_offsets"], parameters["offset"])
        added = None if offsets is None else offsets.values()
        if not holds(points, row_scales(step, exponents, rows), dtype, added):
            raise FormatError(f"a grid of step {step} reaches beyond {dtype}")
        return cls(points, words, groups, step, trellis, classes, exponents, offsets, shape, dtype)


def _points_of_words(words: Words, quantizers: Bytes | None) -> Tensor:
    """``[columns, rows]`` words, and their quantizers with a trellis → ``[rows, columns]`` points, int16."""
    result = np.empty(words.shape[::-1], np.int16)
    step = max(1, _CHUNK // words.shape[1])
    for start in range(0, len(words), step):
        part = slice(start, start + step)
        indices = unzigzag(words[part])
        result[:, part] = (indices if quantizers is None else points_of(indices, quantizers[part])).T
    return torch.from_numpy(result)


def _known() -> str:
    return ", ".join(map(str, TRELLISES))


def _side_streams(parameters: Mapping[str, Any], count: int) -> dict[str, StreamSpec]:
    """The streams of rows and columns."""
    if not {"rows", "classes", "exponent", "offset"} & set(parameters):
        return {}
    rows, sides = parameters.get("rows"), parameters.get("classes", [])
    if type(rows) is not int or not 1 <= rows <= count or count % rows:
        raise FormatError(f"a grid of {count} elements has {rows!r} rows, expected a divisor")
    if not isinstance(sides, list) or sides != [side for side in _SIDES if side in sides]:
        raise FormatError(f"sides of a grid with classes are {sides!r}, expected some of {', '.join(_SIDES)}")
    specs = {}
    if "exponent" in parameters:
        lowest = parameters["exponent"]
        if type(lowest) is not int or not -MAX_EXPONENT <= lowest <= MAX_EXPONENT - EXPONENT_SPREAD:
            raise FormatError(
                f"the smallest row exponent is {lowest!r}, expected a whole number within ±{MAX_EXPONENT}"
            )
        specs["row_exponents"] = StreamSpec(rows, 1)
    if "rows" in sides:
        specs["row_classes"] = StreamSpec(rows, 1)
    if "columns" in sides:
        specs["column_classes"] = StreamSpec(count // rows, 1)
    if "offset" in parameters:
        unit = parameters["offset"]
        if not isinstance(unit, float) or not 0 < unit < math.inf:
            raise FormatError(f"the unit of the offsets of a grid is {unit!r}, expected a positive float")
        specs["column_offsets"] = StreamSpec(count // rows, 2)
    return specs


def _groups(parameters: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Numbers of words in each context, none where there is one context."""
    if "groups" not in parameters:
        return ()
    groups = parameters["groups"]
    if (
        not isinstance(groups, list)
        or not 2 <= len(groups) <= MAX_CONTEXTS
        or not all(type(g) is int and g >= 0 for g in groups)
    ):
        raise FormatError(f"groups of a grid are {groups!r}, expected 2 to {MAX_CONTEXTS} whole numbers")
    if sum(groups) != count:
        raise FormatError(f"groups of a grid hold {sum(groups)} elements, expected {count}")
    return tuple(groups)
