"""Tensors whose values are read or computed each time they are needed, so that a large model need not be in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class DeferredTensor(Tensor):
    """A tensor without memory: shape, strides and dtype are known, and each operation makes its values anew.

    ``detach()`` returns the values as a tensor like any other. Code that needs them several times calls it once; code
    that needs them once, in order, takes them from :func:`chunks`.

    Args:
        make: returns the values, of this dtype, shape and strides.
        dtype: of the values.
        shape: sizes.
        stride: strides, in elements.
        offset: elements from the start of the memory to the first value.
        memory: what tensors that share memory have in common; None for a tensor that shares none.
        parts: returns the values in order, in flat pieces, made of what is in memory; None where they are made or read
            all at once.
    """

    make: Callable[[], Tensor]
    memory: Hashable
    parts: Callable[[], Iterator[Tensor]] | None

    @staticmethod
    def __new__(
        cls,
        make: Callable[[], Tensor],
        dtype: torch.dtype,
        shape: Sequence[int],
        stride: Sequence[int],
        offset: int = 0,
        memory: Hashable = None,
        parts: Callable[[], Iterator[Tensor]] | None = None,
    ) -> DeferredTensor:
        """See the class."""
        made: DeferredTensor = torch.Tensor._make_wrapper_subclass(
            cls, tuple(shape), strides=tuple(stride), storage_offset=offset, dtype=dtype, device=torch.device("cpu")
        )
        made.make, made.memory, made.parts = make, memory, parts
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[Any, Any] | None = None
    ) -> Any:
        """Carry out an operation on the values."""
        args, given = tree_map_only(DeferredTensor, lambda tensor: tensor.make(), (args, kwargs or {}))
        return func(*args, **given)

    def detach(self) -> Tensor:  # torch imports its distributed tensors, and SymPy with them, before it dispatches
        """The values, as a tensor like any other."""
        return self.make().detach()

    def __repr__(self, *, tensor_contents: object = None) -> str:  # type: ignore[override]
        """Type, shape and dtype, without the values."""
        return f"DeferredTensor({tuple(self.shape)}, {self.dtype})"


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def memory_of(tensor: Tensor) -> Hashable:
    """What tensors that share memory have in common."""
    if isinstance(tensor, DeferredTensor):
        return id(tensor) if tensor.memory is None else tensor.memory
    return tensor.untyped_storage().data_ptr()
