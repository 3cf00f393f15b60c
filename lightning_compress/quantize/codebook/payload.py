"""Indices into any list of values, with scales for groups of weights where wanted, and outliers apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.quantize.nested_payloads import (
    inner_parameters,
    inner_streams,
    marked_outliers,
    outliers_layout,
    outliers_work,
)
from lightning_compress.quantize.payload import (
    FLOATS,
    WORD_DTYPES,
    NonZeros,
    Payload,
    StreamSpec,
    Words,
    count_of,
    from_words,
    to_words,
)
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload
from lightning_compress.runtime import Work, empty
from lightning_compress.weights import true_positions

MAX_VALUES = (1 << 16) - 1
_CHUNK = 1 << 18
_CHUNK_BYTES = 64 * _CHUNK


@dataclass(frozen=True, eq=False)
class Scales:
    """Factors of the groups: each row of a tensor is cut into groups of equal size, the last one maybe smaller.

    Attributes:
        words: ``[groups]``, of 1 or 2 bytes, row by row.
        unit: the factor of a group is ``unit`` times its word.
        row: elements in a row.
        size: elements in a group, at most ``row``.
    """

    words: Words
    unit: float
    row: int
    size: int

    def spread(self, start: int, stop: int) -> Tensor:
        """``[stop - start]``, float64: the factors of elements of the flat tensor: whole rows, or a part of one row."""
        number, column = divmod(start, self.row)
        end = min(column + stop - start, self.row)
        first, last = column // self.size, -(-end // self.size)
        edges = np.clip(np.arange(first, last + 1) * self.size, column, end)
        lengths = np.tile(edges[1:] - edges[:-1], (stop - start) // (end - column))
        begin = number * -(-self.row // self.size) + first
        factors = self.words[begin : begin + len(lengths)].astype(np.float64) * self.unit
        return torch.from_numpy(np.repeat(factors, lengths))


@dataclass(frozen=True, eq=False)
class CodebookPayload:
    """Indices into a codebook, and the outliers in the order in which they occur.

    Attributes:
        indices: ``[n]``, uint8, or uint16 from 256 values on; the number of the values itself marks an outlier.
        values: ``[L]``, in the tensor's dtype, L up to 65535: what the indices stand for.
        scales: factors of the values, by group of weights; None where there are none.
        outliers: payload of the ``[m]`` outliers.
        shape: sizes of the tensor.
    """

    kind: ClassVar[str] = "codebook"

    indices: Tensor
    values: Tensor
    scales: Scales | None
    outliers: RawPayload | HalfPayload
    shape: tuple[int, ...]

    def parameters(self) -> dict[str, Any]:
        """The number of values; kind, number and parameters of the outliers; how the scales lie, if there are any."""
        outliers = {"count": self.outliers.count, **inner_parameters(self.outliers)}
        parameters = {"levels": len(self.values), "outliers": outliers}
        if self.scales is None:
            return parameters
        scales = {"unit": self.scales.unit, "width": self.scales.words.dtype.itemsize}
        return parameters | {"scales": scales | {"row": self.scales.row, "size": self.scales.size}}

    def streams(self) -> dict[str, Words]:
        """``indices``, ``codebook`` (the values), ``scales``, and the streams of the outliers under ``outlier_…``."""
        own = {"indices": to_words(self.indices), "codebook": to_words(self.values)}
        if self.scales is not None:
            own["scales"] = self.scales.words
        return {name: words for name, words in own.items() if len(words)} | inner_streams(self.outliers, "outlier")

    def restore(self) -> Tensor:
        """The tensor: values times the factors of their groups, and outliers."""
        dtype, scales = self.values.dtype, self.scales
        table = torch.cat([self.values, self.values.new_zeros(1)])
        table = table if scales is None else table.double()
        flat = empty([len(self.indices)], dtype)
        outliers = self.outliers.restore().reshape(-1)
        used = 0
        for start, stop in _pieces(len(flat), scales):
            wide, target = self.indices[start:stop].to(torch.int32), flat[start:stop]
            part = torch.index_select(table, 0, wide)
            target.copy_(part if scales is None else part * scales.spread(start, stop))
            if len(outliers):
                places = true_positions(wide == len(self.values))
                target[places] = outliers[used : used + len(places)]
                used += len(places)
        return flat.reshape(self.shape)

    def factors(self) -> Tensor:
        """``[n]`` or a single number, float64: what the value of each element is multiplied by."""
        if self.scales is None or not len(self.indices):
            return torch.ones((), dtype=torch.float64)
        return torch.cat([self.scales.spread(*part) for part in _pieces(len(self.indices), self.scales)])

    def split_zeros(self) -> NonZeros | None:
        """See :class:`Payload`; None with scales, whose groups would be torn, and where not exactly one value is 0."""
        zeros = np.flatnonzero(to_words(self.values) == 0)
        if self.scales is not None or len(zeros) != 1:
            return None
        (zero,) = zeros.tolist()
        words = to_words(self.indices)

        def values(positions: NDArray[np.int64]) -> Payload:
            rest = words[positions]
            indices = from_words(rest - (rest > zero).astype(rest.dtype), self.indices.dtype)
            others = torch.cat([self.values[:zero], self.values[zero + 1 :]])
            narrow = indices.to(index_dtype(len(others)))
            return CodebookPayload(narrow, others, None, self.outliers, (len(positions),))

        return NonZeros(words != zero, values, self.shape, has_zero_symbol=True)

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        if dtype not in FLOATS:
            raise FormatError(f"codebook payload of {dtype}, expected a floating-point tensor of 16 to 64 bits")
        levels = count_of(parameters, "levels", MAX_VALUES)
        own = {
            "indices": StreamSpec(count, index_dtype(levels).itemsize),
            "codebook": StreamSpec(levels, dtype.itemsize),
        }
        if "scales" in parameters:
            own["scales"] = _scales_spec(parameters["scales"], count)
        own = {name: spec for name, spec in own.items() if spec.count}
        return own | outliers_layout(parameters.get("outliers"), count, dtype)

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count = math.prod(shape)
        table = 32 * (parameters["levels"] + 1)
        return outliers_work(parameters["outliers"], dtype) + Work(count + table + _CHUNK_BYTES, 12 * count + table)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> CodebookPayload:
        """See :class:`Payload`."""
        levels = parameters["levels"]
        words = streams.get("indices", np.empty(0, np.uint8))
        if int(words.max(initial=0)) > levels:
            raise FormatError(f"index {int(words.max())} stands in a codebook of {levels} values")
        outliers = marked_outliers(words, levels, parameters["outliers"], dtype, streams)
        scales = None
        if "scales" in parameters:
            own = parameters["scales"]
            factors = streams.get("scales", np.empty(0, WORD_DTYPES[own["width"]]))
            scales = Scales(factors, own["unit"], own["row"], own["size"])
        values = from_words(streams.get("codebook", np.empty(0, np.uint8)), dtype)
        return cls(from_words(words, index_dtype(levels)), values, scales, outliers, shape)


def distance_bound(tensor: Tensor, values: Tensor, factors: Tensor, border: float) -> Tensor:
    """How far a weight may be from its value, where one of its two neighbours among all values is taken.

    Args:
        tensor: the weights, n of them.
        values: ``[L]``, rising.
        factors: ``[n]`` or a single number, of at least 0, float64: what the values are multiplied by.
        border: the largest error between two values, as a share of their distance; a half for the nearest of both.

    Returns:
        ``[n]``, at least float32.
    """
    weights = tensor.detach().reshape(-1).to(torch.promote_types(tensor.dtype, torch.float32))
    if not len(values):
        return torch.zeros_like(weights)
    least, most = values[[0, -1]].tolist()
    gap = float(values.double().diff(prepend=values[:1].double()).max())
    between, factors = (border * gap * factors).to(weights.dtype), factors.to(weights.dtype)
    beyond = torch.maximum(weights - most * factors, least * factors - weights)
    return beyond.clamp_(min=0).add_(between)


def index_dtype(levels: int) -> torch.dtype:
    """The narrowest type that holds the numbers 0 to ``levels``."""
    return torch.uint8 if levels < 1 << 8 else torch.uint16


def _pieces(count: int, scales: Scales | None) -> Iterator[tuple[int, int]]:
    """Start and stop of the pieces a flat tensor is restored in; with scales, whole rows or parts of one row."""
    row = 1 if scales is None else scales.row
    step = max(_CHUNK // row, 1) * row
    for start in range(0, count, step):
        stop = min(start + step, count)
        yield from ((at, min(at + _CHUNK, stop)) for at in range(start, stop, _CHUNK))


def _scales_spec(scales: object, count: int) -> StreamSpec:
    """The stream of the factors of a tensor of ``count`` elements."""
    if not isinstance(scales, Mapping):
        raise FormatError(f"scales of a codebook payload are {scales!r}, expected unit, width, row and size")
    unit, width = scales.get("unit"), count_of(scales, "width", 2)
    row, size = count_of(scales, "row", count), count_of(scales, "size", count)
    if not isinstance(unit, float) or not math.isfinite(unit) or unit < 0:
        raise FormatError(f"the unit of scales is {unit!r}, expected a finite float of at least 0")
    if not width or not 0 < size <= row or count % row:
        raise FormatError(f"scales of {width} bytes in groups of {size} do not fit {count} elements in rows of {row}")
    return StreamSpec(count // row * -(-row // size), width)
