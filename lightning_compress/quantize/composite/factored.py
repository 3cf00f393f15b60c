"""The product of two thin matrices, each a payload of its own."""

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
from lightning_compress.quantize.composite.low_rank import MAX_RANK
from lightning_compress.quantize.composite.nestable_payloads import NESTABLE_PAYLOADS
from lightning_compress.quantize.nested_payloads import inner_layout, inner_parameters, inner_streams, streams_of
from lightning_compress.quantize.payload import FLOATS, Payload, StreamSpec, Words, count_of
from lightning_compress.runtime import Work

_CHUNK = 1 << 16
_CHUNK_BYTES = 32 * _CHUNK


@dataclass(frozen=True, eq=False)
class FactoredPayload:
    """A tensor ``[r, c, …]`` as the product of ``[r, k]`` and ``[k, c · …]``.

    Attributes:
        left: payload of the left factor.
        right: payload of the right factor.
        rank: k.
        shape: sizes of the tensor.
    """

    kind: ClassVar[str] = "factored"

    left: Payload
    right: Payload
    rank: int
    shape: tuple[int, ...]

    def parameters(self) -> dict[str, Any]:
        """The rows, the rank, and the two payloads."""
        return {
            "rows": self.shape[0],
            "rank": self.rank,
            "left": inner_parameters(self.left),
            "right": inner_parameters(self.right),
        }

    def streams(self) -> dict[str, Words]:
        """The streams of the factors, under ``left_…`` and ``right_…``."""
        return inner_streams(self.left, "left") | inner_streams(self.right, "right")

    def restore(self) -> Tensor:
        """The product, summed in float64 from the first column on, so that every machine restores the same bits."""
        left, right = self.left.restore(), self.right.restore()
        result = torch.empty((len(left), right.shape[1]), dtype=left.dtype)
        for start, block in product_blocks(left.double().numpy(), right.double().numpy()):
            result[start : start + len(block)] = torch.from_numpy(block)
        return result.reshape(self.shape)

    def split_zeros(self) -> None:
        """See :class:`Payload`; zeros of a product are not those of its factors."""

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        if dtype not in FLOATS:
            raise FormatError(f"factored payload of {dtype}, expected a floating-point tensor of 16 to 64 bits")
        rows, rank = count_of(parameters, "rows", count), count_of(parameters, "rank", MAX_RANK)
        if not rows or count % rows or not 0 < rank * (rows + count // rows) < count:
            raise FormatError(f"factors of rank {rank} and {rows} rows do not fit a tensor of {count} elements")
        left = inner_layout(parameters.get("left"), "left", rows * rank, dtype, NESTABLE_PAYLOADS)
        return left | inner_layout(parameters.get("right"), "right", rank * (count // rows), dtype, NESTABLE_PAYLOADS)

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        rows, rank, count = parameters["rows"], parameters["rank"], math.prod(shape)
        sides = {"left": (rows, rank), "right": (rank, count // rows)}
        inner = [
            NESTABLE_PAYLOADS[parameters[side]["kind"]].work(parameters[side], part, dtype)
            for side, part in sides.items()
        ]
        factors = sum(math.prod(part) for part in sides.values())
        own = Work((8 + dtype.itemsize) * factors + _CHUNK_BYTES + 24 * count // rows, 2 * count * rank + 2 * count)
        return sum(inner, start=own)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> FactoredPayload:
        """See :class:`Payload`."""
        rows, rank = parameters["rows"], parameters["rank"]
        if len(shape) < 2 or shape[0] != rows:
            raise FormatError(f"factors of {rows} rows stand for a tensor of shape {shape}")
        columns = int(np.prod(shape[1:], dtype=np.int64))
        left, right = (
            NESTABLE_PAYLOADS[parameters[side]["kind"]].from_streams(
                parameters[side], part, dtype, streams_of(streams, side)
            )
            for side, part in (("left", (rows, rank)), ("right", (rank, columns)))
        )
        return cls(left, right, rank, shape)


def product_blocks(left: NDArray[np.float64], right: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """``[r, k] · [k, c]`` in blocks of rows: the first row of each, and its elements.

    Products and sums are rounded one after the other in the order of k; a library's product would add in an order of
    its own on each processor. NaN and infinity go their ways silently.
    """
    rows = max(_CHUNK // max(right.shape[1], 1), 1)
    for start in range(0, len(left), rows):
        part = left[start : start + rows]
        block = np.zeros((len(part), right.shape[1]))
        product = np.empty_like(block)
        with np.errstate(all="ignore"):
            for k in range(right.shape[0]):
                np.multiply(part[:, k : k + 1], right[k], out=product)
                np.add(block, product, out=block)
        yield start, block
