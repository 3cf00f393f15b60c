"""Indices into a codebook of equally spaced values, with outliers apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
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
    positions_of,
    to_words,
)
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload
from lightning_compress.runtime import Work
from lightning_compress.weights import true_positions

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
        """The tensor: codebook values, zeros and outliers."""
        table = self.codebook.values(self.dtype)
        flat = torch.empty(len(self.indices), dtype=self.dtype)
        outliers = self.outliers.restore().reshape(-1)
        used = 0
        for indices, target in zip(torch.split(self.indices, _CHUNK), torch.split(flat, _CHUNK), strict=True):
            wide = indices.to(torch.int32)
            torch.index_select(table, 0, wide, out=target)
            if len(outliers):
                places = true_positions(wide == self.codebook.outlier)
                target[places] = outliers[used : used + len(places)]
                used += len(places)
        return flat.reshape(self.shape)

    def split_zeros(self) -> NonZeros:
        """See :class:`Payload`; without values, what is not pruned is the outliers."""
        words = to_words(self.indices)
        positions = positions_of(words != self.codebook.zero)
        values: Payload = self.outliers
        if self.codebook.levels:
            indices = from_words(words[positions], self.indices.dtype)
            values = IndexedPayload(indices, self.codebook, self.outliers, (len(positions),), self.dtype)
        return NonZeros(positions, values, self.shape, has_zero_symbol=True)

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


def _codebook(parameters: Mapping[str, Any]) -> Codebook:
    first, step = parameters.get("first"), parameters.get("step")
    for value in (first, step):
        if not isinstance(value, float) or not math.isfinite(value):
            raise FormatError(f"codebook parameter is {value!r}, expected a finite float")
    assert isinstance(first, float)
    assert isinstance(step, float)
    return Codebook(first, step, count_of(parameters, "levels", MAX_LEVELS))
