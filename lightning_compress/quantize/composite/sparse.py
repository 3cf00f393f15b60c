"""Zeros apart: where the other elements stand, and a payload of those alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
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
from lightning_compress.runtime import Work

Form = Literal["gaps", "bitmap"]
_CHUNK = 1 << 18
_CHUNK_BYTES = 32 * _CHUNK


@dataclass(frozen=True, eq=False)
class SparsePayload:
    """Elements at some positions; all bits of the others are 0.

    Attributes:
        positions: as :func:`gaps_of` or :func:`bitmap_of` writes them.
        form: which of the two: ``gaps`` (elements skipped before each) or ``bitmap`` (a bit an element).
        values: payload of the ``[m]`` elements.
        shape: sizes of the tensor, of elements of at most 8 bytes.
    """

    kind: ClassVar[str] = "sparse"

    positions: Words
    form: Form
    values: Payload
    shape: tuple[int, ...]

    @classmethod
    def of(cls, kept: NDArray[np.int64], form: Form, values: Payload, shape: tuple[int, ...]) -> SparsePayload:
        """The payload of elements at the rising positions ``kept``, ``[m]``."""
        return cls(gaps_of(kept) if form == "gaps" else bitmap_of(kept, math.prod(shape)), form, values, shape)

    @property
    def count(self) -> int:
        """How many elements are kept."""
        return len(self.positions) if self.form == "gaps" else sum(len(places) for places in _in_bitmap(self.positions))

    def parameters(self) -> dict[str, Any]:
        """The form, the bytes of a gap (1 of a bitmap), the number of elements and their payload."""
        return {
            "positions": self.form,
            "width": self.positions.dtype.itemsize,
            "count": self.count,
            "values": inner_parameters(self.values),
        }

    def streams(self) -> dict[str, Words]:
        """``positions``, and the streams of the elements under ``value_…``."""
        own = {"positions": self.positions} if len(self.positions) else {}
        return own | inner_streams(self.values, "value")

    def restore(self) -> Tensor:
        """The tensor, filled with 0 between the elements."""
        values = self.values.restore()
        own, used = to_words(values), 0
        words = np.zeros(math.prod(self.shape), WORD_DTYPES[values.element_size()])
        for places in self.places():
            words[places] = own[used : used + len(places)]
            used += len(places)
        return from_words(words, values.dtype).reshape(self.shape)

    def places(self) -> Iterator[NDArray[np.int64]]:
        """The rising positions of the elements, chunk by chunk."""
        return _PLACES[self.form](self.positions)

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
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """See :class:`Payload`."""
        count, kept, values = math.prod(shape), parameters["count"], parameters["values"]
        inner = NESTABLE_PAYLOADS[values["kind"]].work(values, (kept,), dtype)
        return inner + Work(kept * dtype.itemsize + _CHUNK_BYTES, 2 * count + 10 * kept)

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
        positions = streams.get("positions", np.empty(0, WORD_DTYPES[parameters["width"]]))
        _check_positions(positions, form, math.prod(shape))
        values = NESTABLE_PAYLOADS[inner["kind"]].from_streams(inner, (number,), dtype, streams_of(streams, "value"))
        payload = cls(positions, form, values, shape)
        if payload.count != number:
            raise FormatError(f"a sparse tensor says that it keeps {number} elements, and marks {payload.count}")
        return payload


def gaps_of(kept: NDArray[np.int64]) -> Words:
    """``[m]``, of the fewest bytes that hold all: how many elements are skipped before each that is kept."""
    gaps = np.diff(kept, prepend=-1) - 1
    return gaps.astype(_gap_dtype(int(gaps.max(initial=0))))


def bitmap_of(kept: NDArray[np.int64], elements: int) -> Words:
    """``[⌈n / 8⌉]`` bytes: bit i of byte j is 1 where element 8 · j + i is kept."""
    marks = np.zeros(elements, np.uint8)
    marks[kept] = 1
    return np.packbits(marks, bitorder="little")


def _gap_dtype(largest: int) -> np.dtype[Any]:
    return next(dtype for width, dtype in WORD_DTYPES.items() if largest < 1 << (8 * width))


def _check_positions(words: Words, form: Form, elements: int) -> None:
    """Raise a FormatError where positions lie beyond the elements, or gaps have more bytes than they need."""
    if form == "bitmap":
        rest = -elements % 8
        if rest and len(words) and int(words[-1]) >> (8 - rest):
            raise FormatError(f"a bitmap marks elements beyond the {elements} of its tensor")
        return
    largest = int(words.max(initial=0))
    if largest >= max(elements, 1):
        raise FormatError(f"an element lies {largest} elements on, in a tensor of {elements}")
    if words.dtype != _gap_dtype(largest):
        raise FormatError(f"gaps up to {largest} stand in words of {words.itemsize} bytes, more than they need")
    total = len(words) + sum(int(words[at : at + _CHUNK].sum(dtype=np.uint64)) for at in range(0, len(words), _CHUNK))
    if total > elements:
        raise FormatError(f"an element lies at {total - 1}, in a tensor of {elements}")


def _after_gaps(gaps: Words) -> Iterator[NDArray[np.int64]]:
    """The positions after these gaps, chunk by chunk."""
    last = -1
    for start in range(0, len(gaps), _CHUNK):
        places = np.cumsum(gaps[start : start + _CHUNK].astype(np.int64) + 1) + last
        last = int(places[-1])
        yield places


def _in_bitmap(bitmap: Words) -> Iterator[NDArray[np.int64]]:
    """The positions that a bitmap marks, chunk by chunk."""
    for start in range(0, len(bitmap), _CHUNK // 8):
        marks = np.unpackbits(bitmap[start : start + _CHUNK // 8].astype(np.uint8, copy=False), bitorder="little")
        yield np.flatnonzero(marks).astype(np.int64, copy=False) + 8 * start


_PLACES: Mapping[Form, Callable[[Words], Iterator[NDArray[np.int64]]]] = {"gaps": _after_gaps, "bitmap": _in_bitmap}
