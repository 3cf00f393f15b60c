"""Indices into a codebook of equally spaced values, with outliers apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from lightning_compress.runtime.compiler import loops_take, read_only
from lightning_compress.weights import flattened, true_positions

MAX_LEVELS = 1 << 16
_CHUNK = 1 << 18
_CHUNK_BYTES = 32 * _CHUNK


@dataclass(frozen=True)
class Codebook:
    """Equally spaced values, then two more symbols: ZERO for pruned weights and OUTLIER for those stored apart.

    Attributes:
        first: value of index 0.
        step: distance from one value to the next.
        levels: how many values; 0 where only pruning chooses symbols.
    """

    first: float
    step: float
    levels: int

    @property
    def zero(self) -> int:
        """The index of a pruned weight, which comes back as exact 0."""
        return self.levels

    @property
    def outlier(self) -> int:
        """The index of a weight that is stored apart."""
        return self.levels + 1

    @property
    def index_dtype(self) -> torch.dtype:
        """The narrowest type that holds every index."""
        if self.outlier < 1 << 8:
            return torch.uint8
        return torch.uint16 if self.outlier < 1 << 16 else torch.int32

    def values(self, dtype: torch.dtype) -> Tensor:
        """``[levels + 2]``: what each index restores to (0 for OUTLIER, which is overwritten)."""
        grid = self.first + self.step * torch.arange(self.levels, dtype=torch.float64)
        return torch.cat([grid, torch.zeros(2, dtype=torch.float64)]).to(dtype)


@dataclass(frozen=True, eq=False)
class IndexedPayload:
    """Indices into a codebook, and the outliers in the order in which they occur.

    Attributes:
        indices: ``[n]``, of the codebook's index type.
        codebook: what they stand for.
        outliers: payload of the ``[m]`` weights whose index is OUTLIER.
        shape: sizes of the tensor.
        dtype: type of the tensor.
    """

    kind: ClassVar[str] = "indexed"

    indices: Tensor
    codebook: Codebook
    outliers: RawPayload | HalfPayload
    shape: tuple[int, ...]
    dtype: torch.dtype

    def parameters(self) -> dict[str, Any]:
        """The codebook, and kind, number and parameters of the outliers."""
        return {
            "first": self.codebook.first,
            "step": self.codebook.step,
            "levels": self.codebook.levels,
            "outliers": {"count": self.outliers.count, **inner_parameters(self.outliers)},
        }

    def streams(self) -> dict[str, Words]:
        """``indices``, and the streams of the outliers under ``outlier_…``."""
        own = {"indices": to_words(self.indices)} if len(self.indices) else {}
        return own | inner_streams(self.outliers, "outlier")

    def restore(self) -> Tensor:
        """The tensor: codebook values, zeros and outliers.

        Raises:
            ValueError: another number of indices says that its weight is an outlier.
        """
        table = self.codebook.values(self.dtype)
        flat = empty([len(self.indices)], self.dtype)
        outliers = flattened(self.outliers.restore())
        used = 0
        if loops_take(flat):
            used = _restore_compiled(self.indices, table, outliers, flat)
        else:
            for start in range(0, len(flat), _CHUNK):
                part = slice(start, start + _CHUNK)
                used += _restore(self.indices[part], table, outliers[used:], flat[part])
        if used != len(outliers):
            raise ValueError(f"{used} indices are marked as outliers, and {len(outliers)} outliers are given")
        return flat.reshape(self.shape)

    def split_zeros(self) -> NonZeros:
        """See :class:`Payload`; without values, what is not pruned is the outliers."""
        words = to_words(self.indices)

        def values(positions: NDArray[np.int64]) -> Payload:
            if not self.codebook.levels:
                return self.outliers
            indices = from_words(words[positions], self.indices.dtype)
            return IndexedPayload(indices, self.codebook, self.outliers, (len(positions),), self.dtype)

        return NonZeros(words != self.codebook.zero, values, self.shape, has_zero_symbol=True)

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        if dtype not in FLOATS:
            raise FormatError(f"indexed payload of {dtype}, expected a floating-point tensor of 16 to 64 bits")
        codebook = _codebook(parameters)
        own = {"indices": StreamSpec(count, codebook.index_dtype.itemsize)} if count else {}
        return own | outliers_layout(parameters.get("outliers"), count, dtype)

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count = math.prod(shape)
        table = 32 * (parameters["levels"] + 2)
        return outliers_work(parameters["outliers"], dtype) + Work(count + table + _CHUNK_BYTES, 6 * count + table)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> IndexedPayload:
        """See :class:`Payload`."""
        codebook = _codebook(parameters)
        words = streams.get("indices", np.empty(0, f"<u{codebook.index_dtype.itemsize}"))
        if int(words.max(initial=0)) > codebook.outlier:
            raise FormatError(f"index {int(words.max())} stands in a codebook of {codebook.outlier + 1}")
        outliers = marked_outliers(words, codebook.outlier, parameters["outliers"], dtype, streams)
        indices = from_words(words, codebook.index_dtype)
        return cls(indices, codebook, outliers, shape, dtype)


def _restore(indices: Tensor, table: Tensor, outliers: Tensor, values: Tensor) -> int:
    """Fill in the values of some indices, ``[m]``; returns how many outliers they take from the front."""
    wide = indices.to(torch.int32)
    torch.index_select(table, 0, wide, out=values)
    places = true_positions(wide == len(table) - 1)
    values[places[: len(outliers)]] = outliers[: len(places)]
    return len(places)


def _restore_compiled(indices: Tensor, table: Tensor, outliers: Tensor, values: Tensor) -> int:
    """The same for float32 values."""
    from lightning_compress.quantize.interval.loops import restore_indexed

    words, entries, given = (read_only(array.numpy()) for array in (indices, table, outliers))
    return restore_indexed(words, entries, given, values.numpy())


def _codebook(parameters: Mapping[str, Any]) -> Codebook:
    first, step = parameters.get("first"), parameters.get("step")
    for value in (first, step):
        if not isinstance(value, float) or not math.isfinite(value):
            raise FormatError(f"codebook parameter is {value!r}, expected a finite float")
    assert isinstance(first, float)
    assert isinstance(step, float)
    return Codebook(first, step, count_of(parameters, "levels", MAX_LEVELS))
