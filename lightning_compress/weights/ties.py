"""Tensors that share memory: stored once, and tied again when they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_compress.weights.deferred import contiguous_strides, memory_of
from lightning_compress.weights.names import strip_wrappers


@dataclass(frozen=True)
class Tie:
    """A name whose tensor is a view of another tensor, which is stored contiguously.

    Attributes:
        of: name of the stored tensor.
        offset: elements from the start of the stored tensor to the first element of the view.
        shape: sizes of the view.
        stride: strides of the view, in elements.
    """

    of: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, stored: Tensor) -> Tensor:
        """The tied tensor, sharing memory with the contiguous ``stored`` one."""
        return stored.as_strided(self.shape, self.stride, stored.storage_offset() + self.offset)


def find_ties(state: Mapping[str, Tensor], module: nn.Module | None = None) -> dict[str, Tie]:
    """Names whose tensors are views of another tensor of the state dict.

    Ties are found by shared memory within the state dict. With ``module``, names of one parameter object are tied too
    if their values agree in the state dict: gathering a sharded model copies them separately.
    """
    groups: dict[tuple[Hashable, torch.dtype, bool], list[str]] = defaultdict(list)
    for name, tensor in state.items():
        if tensor.numel() and tensor.device.type != "meta":
            # A lazily conjugated view shares the memory but has other values.
            groups[(memory_of(tensor), tensor.dtype, tensor.is_conj())].append(name)
    ties: dict[str, Tie] = {}
    for names in groups.values():
        if len(names) > 1:
            ties.update(_ties_in_group(state, names))
    if module is not None:
        ties.update(_ties_of_module(state, module, ties))
    return ties


def _ties_in_group(state: Mapping[str, Tensor], names: list[str]) -> dict[str, Tie]:
    """Ties within one storage: the larger tensor is stored, and those inside it are tied to it.

    Of tensors of equal size, a contiguous one is stored, else the first.
    """
    ties: dict[str, Tie] = {}
    bases: list[str] = []
    for name in sorted(names, key=lambda n: (-state[n].numel(), not state[n].is_contiguous(), names.index(n))):
        for base in bases:
            tie = _view_of(state[name], base, state[base])
            if tie is not None:
                ties[name] = tie
                break
        else:
            bases.append(name)
    return ties


def _view_of(tensor: Tensor, name: str, base: Tensor) -> Tie | None:
    start = int(tensor.storage_offset() - base.storage_offset())
    if start == 0 and tensor.shape == base.shape and tensor.stride() == base.stride():
        return _same(name, base)
    extent = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    if base.is_contiguous() and start >= 0 and start + extent < base.numel():
        return Tie(name, start, tuple(tensor.shape), tuple(tensor.stride()))
    return None


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first, second)


def _same(name: str, base: Tensor) -> Tie:
    return Tie(name, 0, tuple(base.shape), contiguous_strides(base.shape))


def _ties_of_module(state: Mapping[str, Tensor], module: nn.Module, known: Mapping[str, Tie]) -> dict[str, Tie]:
    stored_as = {strip_wrappers(name): name for name in state}
    bases = {tie.of for tie in known.values()}
    owner: dict[int, str] = {}
    ties: dict[str, Tie] = {}
    for parameter_name, parameter in module.named_parameters(remove_duplicate=False):
        name = parameter_name if parameter_name in state else stored_as.get(strip_wrappers(parameter_name))
        if name is None or name in known:
            continue
        first = owner.setdefault(id(parameter), name)
        if first != name and name not in bases and _equal(state[first], state[name]):
            ties[name] = _same(first, state[first])
    return ties
