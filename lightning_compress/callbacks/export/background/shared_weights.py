"""A copy of weights in memory that two processes map: tensors one after another, then a pickled table of contents.

The memory is an anonymous file (``memfd_create``, else a temporary file that has lost its name): it has no path, so the
system frees it when the last process that holds it ends, however it ends.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from weakref import finalize

import torch
from torch import Tensor

from lightning_compress.weights import Weight, Weights

_ALIGNMENT = 64  # bytes; every dtype divides it
_SLACK_BYTES = 1 << 16  # for the next table of contents, which may be longer: numbers in it grow
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True)
class _Place:
    """A weight without its values, and where these are."""

    name: str
    class_name: str
    reason: str | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def end(self) -> int:
        return self.start + prod(self.shape) * self.dtype.itemsize

    def tensor(self, memory: Tensor) -> Tensor:
        """The values, as a view of the memory."""
        return memory[self.start : self.end].view(self.dtype).reshape(self.shape)


class SharedMemory:
    """Memory without a name. It is freed with this object, the last tensor in it, and the worker's own mapping.

    Args:
        nbytes: its size.

    Raises:
        OSError: there is not so much.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.descriptor = _anonymous_file(nbytes)
        finalize(self, os.close, self.descriptor)
        self.bytes = _mapped(self.descriptor, nbytes, mmap.ACCESS_WRITE)


class MemoryPool:
    """Memory that is used again: the first write to each page of new memory takes longer than copying the weights."""

    def __init__(self) -> None:
        self._unused: list[SharedMemory] = []
        self._of_outcomes: list[SharedMemory] = []
        self._of_returned_outcomes: list[SharedMemory] = []

    def take(self, nbytes: int) -> SharedMemory:
        """Memory of at least this size. Smaller memory is freed.

        Raises:
            OSError: there is not so much.
        """
        while self._unused:
            memory = self._unused.pop()
            if memory.nbytes >= nbytes:
                return memory
        return SharedMemory(nbytes + _SLACK_BYTES)

    def give_back(self, memory: SharedMemory) -> None:
        """Let the next copy overwrite the memory."""
        self._unused.append(memory)

    def keep(self, memory: SharedMemory) -> None:
        """Keep memory for an outcome until it was returned and concluded."""
        self._of_outcomes.append(memory)

    def outcomes_returned(self) -> None:
        """The outcomes so far are returned to be concluded."""
        self._of_returned_outcomes += self._of_outcomes
        self._of_outcomes = []

    def outcomes_concluded(self) -> None:
        """The returned outcomes are concluded, so their memory is unused."""
        self._unused += self._of_returned_outcomes
        self._of_returned_outcomes = []


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Weights whose tensors are in shared memory.

    Attributes:
        weights: equal to those that were copied.
        memory: that holds them.
        contents_at: position of the table of contents.
        nbytes: how much of the memory is in use.
    """

    weights: Weights
    memory: SharedMemory
    contents_at: int
    nbytes: int

    @classmethod
    def copy_of(cls, weights: Weights, pool: MemoryPool) -> SharedWeights:
        """Copy weights; each tensor becomes contiguous, and is copied from its device directly into the memory.

        Raises:
            OSError: there is not enough memory.
            Exception: a value cannot be pickled.
        """
        places = _places(weights)
        contents = pickle.dumps((replace(weights, weights=()), places))
        contents_at = _aligned(places[-1].end if places else 0)
        nbytes = contents_at + len(contents)
        memory = pool.take(nbytes)
        for place, weight in zip(places, weights, strict=True):
            memory.bytes[place.start : place.end].copy_(_flat_bytes(weight.tensor))
        memory.bytes[contents_at:nbytes].copy_(torch.frombuffer(bytearray(contents), dtype=torch.uint8))
        return cls(_with_tensors(weights, places, memory.bytes), memory, contents_at, nbytes)


def read_shared(descriptor: int, contents_at: int, nbytes: int) -> Weights:
    """The weights in the memory of another process; what is written to their tensors stays in this process.

    Raises:
        Exception: the table of contents cannot be unpickled here.
    """
    memory = _mapped(descriptor, nbytes, mmap.ACCESS_COPY)
    weights, places = pickle.loads(memory[contents_at:].numpy().data)
    return _with_tensors(weights, places, memory)


def _places(weights: Weights) -> list[_Place]:
    places: list[_Place] = []
    for weight in weights:
        start = _aligned(places[-1].end) if places else 0
        tensor = weight.tensor
        places.append(_Place(weight.name, weight.class_name, weight.reason, tensor.dtype, tuple(tensor.shape), start))
    return places


def _with_tensors(weights: Weights, places: Sequence[_Place], memory: Tensor) -> Weights:
    found = (Weight(place.name, place.tensor(memory), place.class_name, place.reason) for place in places)
    return replace(weights, weights=tuple(found))


def _flat_bytes(tensor: Tensor) -> Tensor:
    """The values of a tensor as one flat ``uint8`` tensor on its device; a contiguous tensor is not copied."""
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # A tensor of one element counts as contiguous whatever its stride is.
    return (flat if flat.stride() == (1,) else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _mapped(descriptor: int, nbytes: int, access: int) -> Tensor:
    return torch.frombuffer(mmap.mmap(descriptor, nbytes, access=access), dtype=torch.uint8)


def _anonymous_file(nbytes: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("lightning-compress")
        os.ftruncate(descriptor, nbytes)
        return descriptor
    with tempfile.TemporaryFile() as file:  # has no name, where descriptors can be sent
        # Written completely: if a full disk were found when a mapped page is written, the process would end.
        for start in range(0, nbytes, len(_ZEROS)):
            file.write(_ZEROS[: nbytes - start])
        file.flush()
        return os.dup(file.fileno())
