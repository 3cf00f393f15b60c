"""Zeros apart: where the other elements stand, and a payload of those alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.quantize.composite.nestable_payloads import NESTABLE_PAYLOADS
from lightning_compress.quantize.nested_payloads import inner_layout, inner_parameters, inner_streams, streams_of
from lightning_compress.quantize.payload import (
    WORD_DTYPES,
    Payload,
    StreamSpec,
    Words,
    count_of,
    from_words,
    to_words,
)

Form = Literal["gaps", "bitmap"]


@dataclass(frozen=True, eq=False)
class SparsePayload:
    """Elements at some positions; all bits of the others are 0.

    Attributes:
        kept: ``[m]``, int64, rising positions.
        form: how the positions are written: ``gaps`` (elements skipped before each) or ``bitmap`` (a bit an element).
        values: payload of the ``[m]`` elements.
        shape: sizes of the tensor, of elements of at most 8 bytes.
    """

    kind: ClassVar[str] = "sparse"

    kept: NDArray[np.int64]
    form: Form
    values: Payload
    shape: tuple[int, ...]

    def parameters(self) -> dict[str, Any]:
        """The form, the bytes of a gap (1 of a bitmap), the number of elements and their payload."""
        return {
            "positions": self.form,
            "width": self._positions().dtype.itemsize,
            "count": len(self.kept),
            "values": inner_parameters(self.values),
        }

    def streams(self) -> dict[str, Words]:
        """``positions``, and the streams of the elements under ``value_…``."""
        positions = self._positions()
        own = {"positions": positions} if len(positions) else {}
        return own | inner_streams(self.values, "value")

    def restore(self) -> Tensor:
        """The tensor, filled with 0 between the elements."""
        values = self.values.restore()
        words = np.zeros(_elements(self.shape), WORD_DTYPES[values.element_size()])
        words[self.kept] = to_words(values)
        return from_words(words, values.dtype).reshape(self.shape)

    def _positions(self) -> Words:
        if self.form == "gaps":
            return gaps_of(self.kept)
        return bitmap_of(self.kept, _elements(self.shape))

    def split_zeros(self) -> None:
        """See :class:`Payload`; its zeros are apart already."""

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """See :class:`Payload`."""
        form, width = parameters.get("positions"), parameters.get("width")
        if form not in get_args(Form) or type(width) is not int or width not in WORD_DTYPES or dtype.itemsize > 8:
            raise FormatError(f"positions of a sparse {dtype} as {form!r} of {width!r} bytes are unknown")
        kept = count_of(parameters, "count", count)
        spec = StreamSpec(kept, width) if form == "gaps" else StreamSpec(-(-count // 8), 1)
        own = {"positions": spec} if spec.count else {}
        return own | inner_layout(parameters.get("values"), "value", kept, dtype, NESTABLE_PAYLOADS)

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> SparsePayload:
        """See :class:`Payload`."""
        form, number, inner = parameters["positions"], parameters["count"], parameters["values"]
        words = streams.get("positions", np.empty(0, np.uint8))
        elements = _elements(shape)
        kept = _after_gaps(words, elements) if form == "gaps" else _in_bitmap(words, elements)
        if len(kept) != number:
            raise FormatError(f"a sparse tensor says that it keeps {number} elements, and marks {len(kept)}")
        values = NESTABLE_PAYLOADS[inner["kind"]].from_streams(inner, (number,), dtype, streams_of(streams, "value"))
        return cls(kept, form, values, shape)


def gaps_of(kept: NDArray[np.int64]) -> Words:
    """``[m]``, of the fewest bytes that hold all: how many elements are skipped before each that is kept."""
    gaps = np.diff(kept, prepend=-1) - 1
    largest = int(gaps.max(initial=0))
    return gaps.astype(next(dtype for width, dtype in WORD_DTYPES.items() if largest < 1 << (8 * width)))


def bitmap_of(kept: NDArray[np.int64], elements: int) -> Words:
    """``[⌈n / 8⌉]`` bytes: bit i of byte j is 1 where element 8 · j + i is kept."""
    marks = np.zeros(elements, np.uint8)
    marks[kept] = 1
    return np.packbits(marks, bitorder="little")


def _after_gaps(gaps: Words, elements: int) -> NDArray[np.int64]:
    if int(gaps.max(initial=0)) >= max(elements, 1):
        raise FormatError(f"an element lies {int(gaps.max())} elements on, in a tensor of {elements}")
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if len(positions) and positions[-1] >= elements:
        raise FormatError(f"an element lies at {positions[-1]}, in a tensor of {elements}")
    return positions


def _in_bitmap(bitmap: Words, elements: int) -> NDArray[np.int64]:
    marks = np.unpackbits(bitmap.astype(np.uint8, copy=False), bitorder="little")
    if marks[elements:].any():
        raise FormatError(f"a bitmap marks elements beyond the {elements} of its tensor")
    return np.flatnonzero(marks[:elements]).astype(np.int64, copy=False)


def _elements(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
