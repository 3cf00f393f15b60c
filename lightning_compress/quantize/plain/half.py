"""Half precision: 16 bits a weight.

The reference paper (section 3.3) drops the low 16 bits of the float32 word: bfloat16 by truncation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.errors import FormatError, PlanError
from lightning_compress.quantize.payload import (
    NonZeros,
    StreamSpec,
    Words,
    count_of,
    from_words,
    to_words,
)
from lightning_compress.quantize.plain.half_words import check_finite, is_lost, lost_positions, truncated
from lightning_compress.quantize.plain.raw import RawPayload
from lightning_compress.runtime import Work, empty
from lightning_compress.weights import flattened

Format = Literal["bfloat16", "float16"]
Rounding = Literal["truncate", "nearest"]
_WIDE = (torch.float32, torch.float64)  # what is narrower has 16 bits or fewer already
_DTYPES: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Half:
    """Keep 16 bits of every weight.

    Attributes:
        format: ``bfloat16`` (8 exponent bits) or ``float16`` (5).
        rounding: ``truncate`` (the paper; bfloat16 only) or ``nearest`` (ties to even).

    Values that the format cannot hold stay bit-exact: NaN, infinity, what would overflow, what would underflow to 0.
    Tensors of 16 bits or less, and those that are not floating-point, are kept raw.

    Raises:
        PlanError: an unknown format or rounding, or truncation to float16.
    """

    id: ClassVar[str] = "half"
    role: ClassVar[str] = "store"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    label: ClassVar[str] = "half precision"

    format: Format = "bfloat16"
    rounding: Rounding = "truncate"

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise PlanError(f"Half: format {self.format!r} is unknown; write one of {', '.join(get_args(Format))}")
        if self.rounding not in get_args(Rounding):
            raise PlanError(
                f"Half: rounding {self.rounding!r} is unknown; write one of {', '.join(get_args(Rounding))}"
            )
        if self.format == "float16" and self.rounding == "truncate":
            raise PlanError("Half: float16 is rounded to nearest; write rounding='nearest'")

    def scaled(self, factor: float) -> Half:
        """Itself: it has no step."""
        return self

    def store(self, values: Tensor) -> RawPayload | HalfPayload:
        """The payload of a tensor of any dtype."""
        if values.dtype not in _WIDE:
            return RawPayload(values.detach())
        flat = flattened(values)
        halves = self._halves(flat)
        escapes = lost_positions(flat, halves)
        return HalfPayload(halves, escapes, flat[escapes], tuple(values.shape))

    def quantize(self, values: Tensor) -> Tensor:
        """See :class:`~lightning_compress.quantize.Storage`."""
        if values.dtype not in _WIDE:
            return values.detach().clone()
        flat = values.detach().reshape(-1)
        back = self._halves(flat).to(flat.dtype)
        return torch.where(is_lost(flat, back), flat, back).reshape(values.shape)

    def error_bound(self, values: Tensor) -> Tensor:
        """See :class:`~lightning_compress.quantize.Storage`: a place of the format, half of one if it rounds.

        Of a float64 the rounding to float32, from which bfloat16 is cut, is a small part of it.
        """
        info = torch.finfo(_DTYPES[self.format])
        share = 1.0 if self.rounding == "truncate" else 0.5
        return values.abs().clamp_(min=info.smallest_normal).mul_(1.01 * share * info.eps)

    def _halves(self, flat: Tensor) -> Tensor:
        return flat.to(_DTYPES[self.format]) if self.rounding == "nearest" else truncated(flat)


@dataclass(frozen=True, eq=False)
class HalfPayload:
    """16-bit words for every element, and exact values for the few they cannot hold.

    Attributes:
        halves: ``[n]``, bfloat16 or float16.
        escapes: ``[m]``, int64, ascending positions of the exact values.
        exact: ``[m]``, in the tensor's own dtype.
        shape: sizes of the tensor.
    """

    kind: ClassVar[str] = "half"

    halves: Tensor
    escapes: Tensor
    exact: Tensor
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many elements."""
        return len(self.halves)

    def parameters(self) -> dict[str, Any]:
        """The 16-bit format and the number of exact values."""
        return {"format": str(self.halves.dtype).removeprefix("torch."), "escapes": len(self.escapes)}

    def streams(self) -> dict[str, Words]:
        """``values`` (16 bits), ``escape_gaps`` (elements skipped before each escape), ``escape_values``."""
        streams: dict[str, Words] = {"values": to_words(self.halves)} if len(self.halves) else {}
        if len(self.escapes):
            gaps = np.diff(self.escapes.numpy(), prepend=-1) - 1
            streams["escape_gaps"] = gaps.astype("<u8")
            streams["escape_values"] = to_words(self.exact)
        return streams

    def restore(self) -> Tensor:
        """The tensor, its values those of the 16-bit words, its escapes exact."""
        flat = empty([len(self.halves)], self.exact.dtype).copy_(self.halves)
        if len(self.escapes):
            flat[self.escapes] = self.exact
        return flat.reshape(self.shape)

    def split_zeros(self) -> NonZeros | None:
        """See :class:`Payload`."""
        words, escapes = to_words(self.halves), self.escapes.numpy()
        is_kept = words != 0
        is_kept[escapes] = True

        def values(positions: NDArray[np.int64]) -> HalfPayload:
            moved = torch.from_numpy(np.searchsorted(positions, escapes))
            halves = from_words(words[positions], self.halves.dtype)
            return HalfPayload(halves, moved, self.exact, (len(positions),))

        return None if is_kept.all() else NonZeros(is_kept, values, self.shape, has_zero_symbol=False)

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        if parameters.get("format") not in _DTYPES or dtype not in _WIDE:
            raise FormatError(f"half payload of {dtype} in format {parameters.get('format')!r} is unknown")
        escapes = count_of(parameters, "escapes", count)
        specs = {
            "values": StreamSpec(count, 2),
            "escape_gaps": StreamSpec(escapes, 8),
            "escape_values": StreamSpec(escapes, dtype.itemsize),
        }
        return {name: spec for name, spec in specs.items() if spec.count}

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count, escapes = math.prod(shape), parameters["escapes"]
        return Work(4 * count + 40 * escapes, 4 * count + 20 * escapes)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> HalfPayload:
        """See :class:`Payload`."""
        empty = np.empty(0, "<u8")
        halves = from_words(streams.get("values", empty), _DTYPES[parameters["format"]])
        gaps = streams.get("escape_gaps", empty)
        if len(gaps) and int(gaps.max()) >= len(halves):
            raise FormatError(f"an escape lies {int(gaps.max())} elements on, in a tensor of {len(halves)}")
        positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
        if len(positions) and positions[-1] >= len(halves):
            raise FormatError(f"an escape lies at element {positions[-1]}, in a tensor of {len(halves)}")
        check_finite(streams.get("values", empty), parameters["format"], positions)
        exact = from_words(streams.get("escape_values", empty), dtype)
        return cls(halves, torch.from_numpy(positions), exact, shape)
