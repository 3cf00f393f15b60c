"""A module left bit for bit as it was, whatever is loaded into it and done with it meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.runtime.random_state import snapshot_random_state


class TensorCopies:
    """TensorCopies of tensors in main memory that share memory among each other as the originals do."""

    def __init__(self) -> None:
        self._storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}

    def of(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor, with the values its memory had when a tensor of it was first asked for."""
        if not _is_plain(tensor):
            return tensor if tensor.is_meta else tensor.detach().cpu().clone()
        if not self.know(tensor):
            memory = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
            self._storages[_place(tensor)] = memory.to("cpu", copy=True).untyped_storage()
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(self._storages[_place(tensor)], tensor.storage_offset(), tensor.shape, tensor.stride())

    def know(self, tensor: Tensor) -> bool:
        """Whether the memory of a tensor is copied already."""
        return _is_plain(tensor) and _place(tensor) in self._storages


@dataclass(frozen=True, eq=False)
class ModuleSnapshot:
    """What a module was when it was noted.

    Attributes:
        copies: the one copy of its exact values.
        restore: brings values, attributes, modes and random numbers back; to be called as often as wanted.
        restore_written: the same for less: parameters that torch knows nothing was written into since the last time
            are not copied. It does not see what is written into their ``.data``.
    """

    copies: TensorCopies
    restore: Callable[[], None]
    restore_written: Callable[[], None]


@contextmanager
def preserved_module(module: nn.Module) -> Iterator[ModuleSnapshot]:
    """Leave a module as it was when the block ends, also after an error.

    Kept are the values, dtypes and places of its parameters, its buffers, and the tensors, lists and dictionaries that
    are attributes of it or of one of its parts (the state of a metric is such); which parameters want gradients, and
    the gradients; ``training`` of each part; the hooks; the random state of Python, NumPy and torch. In the block no
    parameter has a gradient.
    """
    copies = TensorCopies()
    undo: list[Callable[[], None]] = []
    tensors: dict[int, _NotedTensor] = {}
    for part in list(module.modules()):
        undo.append(_note_attributes(part))
        held = [*vars(part).values(), *part._parameters.values(), *part._buffers.values()]
        for tensor in held:
            if isinstance(tensor, Tensor) and id(tensor) not in tensors and not torch.nn.parameter.is_lazy(tensor):
                tensors[id(tensor)] = _NotedTensor(tensor, copies)
    undo.append(snapshot_random_state())

    def restore(*, written_only: bool = False) -> None:
        for noted in tensors.values():
            noted.restore(written_only=written_only)
        for step in undo:
            step()

    gradients = {tensor: tensor.grad for tensor in module.parameters()}
    try:
        restore()
        yield ModuleSnapshot(copies, restore, partial(restore, written_only=True))
    finally:
        restore()
        for tensor, gradient in gradients.items():
            tensor.grad = gradient


def _note_attributes(part: nn.Module) -> Callable[[], None]:
    """Note the attributes of one part, and the content of those that are plain containers."""
    attributes = dict(vars(part))
    contents = [(value, value.copy()) for value in attributes.values() if type(value) in (dict, OrderedDict, list, set)]

    def restore() -> None:
        for name in vars(part).keys() - attributes.keys():
            del vars(part)[name]
        vars(part).update(attributes)
        for value, content in contents:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(content)

    return restore


class _NotedTensor:
    """Memory, values and the wish for a gradient of a tensor."""

    def __init__(self, tensor: Tensor, copies: TensorCopies) -> None:
        self.tensor, self.data, self.values = tensor, tensor.data, copies.of(tensor)
        self.wanted = tensor.requires_grad
        self.version = _version(tensor)

    @torch.no_grad()
    def restore(self, *, written_only: bool) -> None:
        """Put it back and take its gradient away; the values of a parameter only if needed where so asked."""
        tensor = self.tensor
        if tensor.is_leaf:
            tensor.grad = None
        is_moved = not _is_same_memory(tensor.data, self.data)
        if is_moved:
            tensor.data = self.data
        is_untouched = (
            isinstance(tensor, nn.Parameter) and self.version is not None and self.version == _version(tensor)
        )
        if is_moved or not (written_only and is_untouched):
            self.data.copy_(self.values)
        if tensor.is_leaf:
            tensor.requires_grad_(self.wanted)
        self.version = _version(tensor)


def _version(tensor: Tensor) -> int | None:
    """How often torch has seen the tensor written to; None where it does not count."""
    return None if tensor.is_inference() else tensor._version


def _place(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is no more than a view of a storage."""
    plain_type = type(tensor) in (Tensor, nn.Parameter, nn.Buffer)
    return plain_type and tensor.layout is torch.strided and not (tensor.is_conj() or tensor.is_neg() or tensor.is_meta)


def _is_same_memory(first: Any, second: Any) -> bool:
    if not (_is_plain(first) and _is_plain(second)):
        return first is second
    return (first.data_ptr(), first.dtype, first.shape, first.stride()) == (
        second.data_ptr(),
        second.dtype,
        second.shape,
        second.stride(),
    )
