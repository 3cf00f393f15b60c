"""Values as they are, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.payload import NonZeros, StreamSpec, Words, from_words, to_words
from lightning_compress.runtime import Work


@dataclass(frozen=True)
class Raw:
    """Keep every value exactly; the coders still find what is redundant."""

    id: ClassVar[str] = "raw"
    role: ClassVar[str] = "store"
    lossy: ClassVar[bool] = False
    holds_zero: ClassVar[bool] = True
    label: ClassVar[str] = "raw"

    def scaled(self, factor: float) -> Raw:
        """Itself: it has no step."""
        return self

    def store(self, values: Tensor) -> RawPayload:
        """The payload of a tensor of any dtype."""
        return RawPayload(values.detach())

    def error_bound(self, values: Tensor) -> Tensor:
        """See :class:`~lightning_compress.quantize.Storage`."""
        return torch.zeros_like(values)

    def quantize(self, values: Tensor) -> Tensor:
        """A copy of the values."""
        return values.detach().clone()


@dataclass(frozen=True, eq=False)
class RawPayload:
    """The words of a tensor of any shape and dtype."""

    kind: ClassVar[str] = "raw"

    tensor: Tensor

    @property
    def count(self) -> int:
        """How many elements."""
        return self.tensor.numel()

    def parameters(self) -> dict[str, Any]:
        """None are needed."""
        return {}

    def streams(self) -> dict[str, Words]:
        """``values``: one word per element (two for 16-byte elements)."""
        return {"values": to_words(self.tensor)} if self.tensor.numel() else {}

    def restore(self) -> Tensor:
        """The tensor."""
        return self.tensor

    def split_zeros(self) -> NonZeros | None:
        """See :class:`Payload`; zeros are elements without a set bit, of at most 8 bytes."""
        if self.tensor.element_size() > 8:
            return None
        words = to_words(self.tensor)
        is_kept = words != 0

        def values(positions: NDArray[np.int64]) -> RawPayload:
            return RawPayload(from_words(words[positions], self.tensor.dtype))

        return None if is_kept.all() else NonZeros(is_kept, values, tuple(self.tensor.shape), has_zero_symbol=False)

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        width = min(dtype.itemsize, 8)
        return {"values": StreamSpec(count * dtype.itemsize // width, width)} if count else {}

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count = math.prod(shape)
        return Work(count * dtype.itemsize, count)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> RawPayload:
        """See :class:`Payload`."""
        if "values" not in streams:
            return cls(torch.empty(shape, dtype=dtype))
        return cls(from_words(streams["values"], dtype).reshape(shape))
