"""The contract of a payload: one tensor as integer streams in a file, and how they become the tensor again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work
from lightning_compress.weights import byte_array

Words = NDArray[np.unsignedinteger[Any]]
WORD_DTYPES: dict[int, np.dtype[Any]] = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits"))
}


@dataclass(frozen=True)
class StreamSpec:
    """Size of one integer stream, known before it is decoded.

    Attributes:
        count: how many words.
        width: bytes of a word: 1, 2, 4 or 8.
        groups: lengths of the consecutive groups of words that have a distribution each, 0 allowed; none: the stream is
            one group.

    Raises:
        FormatError: the groups do not sum to the words.
    """

    count: int
    width: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.groups and (min(self.groups) < 0 or sum(self.groups) != self.count):
            raise FormatError(
                f"the groups of a stream have {self.groups} words, expected lengths that sum to {self.count}"
            )


@dataclass(frozen=True, eq=False)
class NonZeros:
    """The elements of a payload that are not 0, apart from their places.

    Attributes:
        kept: ``[n]``: which elements of the flat tensor they are.
        values: their rising positions, ``[m]`` → their payload.
        shape: sizes of the whole tensor.
        has_zero_symbol: whether the payload codes 0 as one of its indices, so that zeros cost it their entropy rather
            than a whole word each.
    """

    kept: NDArray[np.bool_]
    values: Callable[[NDArray[np.int64]], Payload]
    shape: tuple[int, ...]
    has_zero_symbol: bool


class Payload(Protocol):
    """The stored form of one tensor.

    ``layout`` and ``work`` compute the streams and the effort from the parameters alone, so that a reader can check
    both before it allocates.

    Attributes:
        kind: its name in files, never reused for another form.
    """

    kind: ClassVar[str]

    def parameters(self) -> dict[str, Any]:
        """JSON-able parameters: all that ``layout`` and ``from_streams`` need besides shape and dtype."""
        ...

    def streams(self) -> dict[str, Words]:
        """The integer streams by name; empty ones are left out."""
        ...

    def restore(self) -> Tensor:
        """The tensor, in its shape and dtype."""
        ...

    def split_zeros(self) -> NonZeros | None:
        """The elements that are not 0, apart; None where all or none are, or the payload is stored whole."""
        ...

    @classmethod
    def layout(cls, parameters: Mapping[str, Any], count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
        """Names and sizes of the streams for a tensor of ``count`` elements.

        Raises:
            FormatError: parameters of a wrong type or range.
        """
        ...

    @classmethod
    def work(cls, parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype) -> Work:
        """What restoring takes beside the decoded words, for parameters that ``layout`` accepted."""
        ...

    @classmethod
    def from_streams(
        cls,
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        streams: Mapping[str, Words],
    ) -> Payload:
        """The payload from what ``parameters`` and ``streams`` gave.

        Raises:
            FormatError: a stream holds a value that cannot stand there.
        """
        ...


def count_of(parameters: Mapping[str, Any], key: str, most: int) -> int:
    """A whole number from 0 to ``most`` among the parameters in a file.

    Raises:
        FormatError: it is missing, of another type or out of range.
    """
    value = parameters.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise FormatError(f"parameter {key!r} is {value!r}, expected a whole number from 0 to {most}")
    return value


def positions_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``[m]``: where a mask is true."""
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def to_words(tensor: Tensor) -> Words:
    """The values of a tensor as unsigned words of its element size (16-byte elements as two words)."""
    return byte_array(tensor).view(WORD_DTYPES[min(tensor.element_size(), 8)])


def from_words(words: Words, dtype: torch.dtype) -> Tensor:
    """The flat tensor whose words these are; the inverse of :func:`to_words`."""
    if not len(words):
        return torch.empty(0, dtype=dtype)
    data = np.ascontiguousarray(words)
    data = data if data.flags.writeable else data.copy()
    return torch.from_numpy(data.view(np.uint8)).view(dtype)
