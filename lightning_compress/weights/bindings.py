"""Bindings between stored tensors and the parameters of a module that hold them.

Parameters are identified by their memory, so tied weights and hooks that rename state-dict entries are handled too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_compress.weights.matching import counterparts
from lightning_compress.weights.ties import Tie
from lightning_compress.weights.weights import Weights


class Owner(NamedTuple):
    """A module and the attribute under which a parameter is registered there, such as an LSTM and ``weight_ih_l0``."""

    module: nn.Module
    attribute: str


@dataclass(frozen=True, eq=False)
class Binding:
    """A parameter that holds a stored tensor, or a view of it.

    Attributes:
        parameter: the parameter.
        tie: which elements of the stored tensor the parameter holds; None for all, in order.
        owners: where the parameter is registered, in the order of ``module.modules()``; more than one if modules share
            it, as an embedding and an output projection do.
    """

    parameter: nn.Parameter
    tie: Tie | None
    owners: tuple[Owner, ...]

    @property
    def module(self) -> nn.Module:
        """The first module that owns the parameter."""
        return self.owners[0].module

    @property
    def attribute(self) -> str:
        """Name of the parameter in :attr:`module`."""
        return self.owners[0].attribute

    @torch.no_grad()
    def load(self, stored: Tensor) -> None:
        """Copy the parameter's elements of the stored tensor into the parameter."""
        self.parameter.copy_(stored if self.tie is None else self.tie.view(stored.contiguous()))

    def add_gradient(self, gradient: Tensor, total: Tensor) -> None:
        """Add the gradient of the parameter to ``total``, the contiguous gradient of the stored tensor."""
        if self.tie is None:
            total += gradient
        else:
            indices = torch.arange(total.numel(), device=total.device)
            viewed = indices.as_strided(self.tie.shape, self.tie.stride, self.tie.offset)
            total.view(-1).index_add_(0, viewed.reshape(-1), gradient.reshape(-1))


def bindings_of(weights: Weights, module: nn.Module) -> dict[str, list[Binding]]:
    """The bindings of each floating-point tensor; every parameter of the module is in one binding at most.

    Args:
        weights: stored tensors and ties; names may differ from the module's by wrappers.
        module: with a parameter or a buffer for each of them.

    Returns:
        Name of the stored tensor → its bindings; tensors that no parameter holds are left out.
    """
    live = module.state_dict()
    ties: dict[str, Tie | None] = {weight.name: None for weight in weights}
    ties.update(weights.ties)
    parameters = _parameters_by_memory(module)
    names = counterparts(live, ties)
    bindings: dict[str, list[Binding]] = {}
    for name, tie in ties.items():
        tensor = live.get(names.get(name, ""))
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
            for parameter, owners in parameters.pop(_memory(tensor), {}).items():
                bindings.setdefault(name if tie is None else tie.of, []).append(Binding(parameter, tie, tuple(owners)))
    return bindings


def parameters_of(bindings: Mapping[str, Sequence[Binding]]) -> list[nn.Parameter]:
    """The parameters of all bindings, in order."""
    return [binding.parameter for group in bindings.values() for binding in group]


def summed_gradient(
    bindings: Sequence[Binding], gradients: Mapping[int, Tensor | None], shape: Sequence[int]
) -> Tensor | None:
    """The dense gradient of a stored tensor: the sum over its bindings; None if no parameter has a gradient.

    Args:
        bindings: the bindings of the tensor.
        gradients: ``id`` of a parameter → its gradient, or None.
        shape: the shape of the tensor.
    """
    known = [(binding, gradients[id(binding.parameter)]) for binding in bindings]
    dense = [(binding, gradient.to_dense()) for binding, gradient in known if gradient is not None]
    if not dense:
        return None
    if len(dense) == 1 and dense[0][0].tie is None:
        return dense[0][1]
    total = torch.zeros(tuple(shape), dtype=dense[0][1].dtype, device=dense[0][1].device)
    for binding, gradient in dense:
        binding.add_gradient(gradient, total)
    return total


def _parameters_by_memory(module: nn.Module) -> dict[Any, dict[nn.Parameter, list[Owner]]]:
    """Memory → the floating-point parameters with exactly that memory, each with its owners."""
    parameters: dict[Any, dict[nn.Parameter, list[Owner]]] = {}
    for submodule in module.modules():
        for attribute, parameter in submodule._parameters.items():
            if parameter is not None and parameter.is_floating_point() and parameter.numel():
                owners = parameters.setdefault(_memory(parameter), {}).setdefault(parameter, [])
                owners.append(Owner(submodule, attribute))
    return parameters


def _memory(tensor: Tensor) -> Any:
    return tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride()
