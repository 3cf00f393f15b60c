"""Values as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_compress.quantize.payload import StreamSpec, Words, from_words, to_words


@dataclass(frozen=True)
class Raw:
    """Keep every value exactly; the coders still find what is redundant."""

    id: ClassVar[str] = "raw"
    lossy: ClassVar[bool] = False

    def store(self, values: Tensor) -> RawPayload:
        """The payload of a tensor of any dtype."""
        return RawPayload(values.detach())


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

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        width = min(dtype.itemsize, 8)
        return {"values": StreamSpec(count * dtype.itemsize // width, width)} if count else {}

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
