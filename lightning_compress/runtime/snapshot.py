"""Snapshot of a module, from which it is restored bit for bit after other weights were loaded into it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lightning_compress.runtime.random_state import snapshot_random_state


class TensorCopies:
    """Copies of tensors in main memory, which share memory with each other wherever the originals do.

    ``tensor in copies`` tells whether the memory of a tensor has been copied.
    """

    def __init__(self) -> None:
        self._storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}

    def copy_of(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor; its memory is copied when a tensor in it is first asked for."""
        if not _is_plain(tensor):
            return tensor if tensor.is_meta else tensor.detach().cpu().clone()
        if tensor not in self:
            memory = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
            self._storages[_storage(tensor)] = memory.to("cpu", copy=True).untyped_storage()
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(self._storages[_storage(tensor)], tensor.storage_offset(), tensor.shape, tensor.stride())

    def __contains__(self, tensor: Tensor) -> bool:
        return _is_plain(tensor) and _storage(tensor) in self._storages


@dataclass(frozen=True, eq=False)
class ModuleSnapshot:
    """The state of a module at one moment.

    Attributes:
        copies: the only copy of its values.
        restore: restores values, attributes, modes and the random state; may be called any number of times.
        restore_modified: likewise, but skips parameters that were not modified since the last restore, according to the
            version counter of torch. Writes through ``.data`` do not increase that counter.
    """

    copies: TensorCopies
    restore: Callable[[], None]
    restore_modified: Callable[[], None]


@contextmanager
def preserved_module(module: nn.Module) -> Iterator[ModuleSnapshot]:
    """A context that restores a module when it ends, also after an error.

    The snapshot covers the values, dtypes and devices of parameters and buffers; tensors, lists and dictionaries that
    are attributes of the module or of a submodule (such as the state of a metric); ``requires_grad`` and gradients;
    ``training`` of each submodule; the hooks; and the random state of Python, NumPy and torch. Inside the context no
    parameter has a gradient.
    """
    copies = TensorCopies()
    restore_steps: list[Callable[[], None]] = []
    tensors: dict[int, _TensorSnapshot] = {}
    for submodule in list(module.modules()):
        restore_steps.append(_snapshot_attributes(submodule))
        held = [*vars(submodule).values(), *submodule._parameters.values(), *submodule._buffers.values()]
        for tensor in held:
            if isinstance(tensor, Tensor) and id(tensor) not in tensors and not torch.nn.parameter.is_lazy(tensor):
                tensors[id(tensor)] = _TensorSnapshot(tensor, copies)
    restore_steps.append(snapshot_random_state())

    def restore(*, modified_only: bool = False) -> None:
        for snapshot in tensors.values():
            snapshot.restore(modified_only=modified_only)
        for step in restore_steps:
            step()

    gradients = {tensor: tensor.grad for tensor in module.parameters()}
    try:
        restore()
        yield ModuleSnapshot(copies, restore, partial(restore, modified_only=True))
    finally:
        try:
            restore()
        finally:
            for tensor, gradient in gradients.items():
                tensor.grad = gradient


def _snapshot_attributes(submodule: nn.Module) -> Callable[[], None]:
    """Save the attributes of one module, and the items of those that are plain containers; returns the restorer."""
    attributes = dict(vars(submodule))
    containers = [(v, v.copy()) for v in attributes.values() if type(v) in (dict, OrderedDict, list, set)]

    def restore() -> None:
        for name in vars(submodule).keys() - attributes.keys():
            del vars(submodule)[name]
        vars(submodule).update(attributes)
        for container, items in containers:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(items)

    return restore


class _TensorSnapshot:
    """The memory, the values and ``requires_grad`` of one tensor."""

    def __init__(self, tensor: Tensor, copies: TensorCopies) -> None:
        self.tensor, self.data, self.values = tensor, tensor.data, copies.copy_of(tensor)
        self.requires_grad = tensor.requires_grad
        self.version = _version(tensor)

    @torch.no_grad()
    def restore(self, *, modified_only: bool) -> None:
        """Restore the tensor and remove its gradient.

        Args:
            modified_only: skip copying the values of a parameter that was not modified since the last restore.
        """
        tensor = self.tensor
        if tensor.is_leaf:
            tensor.grad = None
        is_moved = not _is_same_memory(tensor.data, self.data)
        if is_moved:
            tensor.data = self.data
        is_unmodified = (
            isinstance(tensor, nn.Parameter) and self.version is not None and self.version == _version(tensor)
        )
        if is_moved or not (modified_only and is_unmodified):
            _distinct(self.data).copy_(_distinct(self.values))
        if tensor.is_leaf:
            tensor.requires_grad_(self.requires_grad)
        self.version = _version(tensor)


def _distinct(tensor: Tensor) -> Tensor:
    """The elements of a tensor without those that ``expand`` shows again: torch does not write to them at once."""
    if tensor.layout is not torch.strided or 0 not in tensor.stride():
        return tensor
    return tensor[tuple(slice(None) if step else slice(1) for step in tensor.stride())]


def _version(tensor: Tensor) -> int | None:
    """The version counter, which in-place operations increase; None for inference tensors, which have none."""
    return None if tensor.is_inference() else tensor._version


def _storage(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is just a strided view of a storage."""
    plain_type = type(tensor) in (Tensor, nn.Parameter, nn.Buffer)
    return plain_type and tensor.layout is torch.strided and not (tensor.is_conj() or tensor.is_neg() or tensor.is_meta)


def _is_same_memory(first: Tensor, second: Tensor) -> bool:
    if not (_is_plain(first) and _is_plain(second)):
        return first is second
    return (first.data_ptr(), first.dtype, first.shape, first.stride()) == (
        second.data_ptr(),
        second.dtype,
        second.shape,
        second.stride(),
    )
