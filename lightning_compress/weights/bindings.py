"""Which parameters of a module hold the stored tensors, whatever they are called there and however they are tied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.weights.matching import counterparts
from lightning_compress.weights.state import Weights
from lightning_compress.weights.ties import Tie


@dataclass(frozen=True, eq=False)
class Binding:
    """A parameter that holds a stored tensor, or a view of it.

    Attributes:
        parameter: of the module.
        tie: which elements of the stored tensor it holds; None for all in order.
    """

    parameter: nn.Parameter
    tie: Tie | None

    @torch.no_grad()
    def load(self, stored: Tensor) -> None:
        """Give the parameter its elements of the stored tensor."""
        self.parameter.copy_(stored if self.tie is None else self.tie.view(stored.contiguous()))

    def add_gradient(self, gradient: Tensor, total: Tensor) -> None:
        """Add the gradient of the parameter to that of the stored tensor, which is contiguous."""
        if self.tie is None:
            total += gradient
        else:
            places = torch.arange(total.numel(), device=total.device)
            taken = places.as_strided(self.tie.shape, self.tie.stride, self.tie.offset)
            total.view(-1).index_add_(0, taken.reshape(-1), gradient.reshape(-1))


def bindings_of(weights: Weights, module: nn.Module) -> dict[str, list[Binding]]:
    """The parameters that hold each floating-point tensor, each parameter once.

    They are found by their memory: hooks may give them other names in the state dict than they have in the module.

    Args:
        weights: stored tensors and ties; names may differ from the module's by wrappers.
        module: with a parameter, or a buffer, for each of them.

    Returns:
        Name of the stored tensor → its bindings; tensors that no parameter holds are left out.
    """
    live = module.state_dict()
    ties: dict[str, Tie | None] = {weight.name: None for weight in weights}
    ties.update(weights.ties)
    parameters: dict[Any, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel():
            parameters.setdefault(_memory(parameter), []).append(parameter)
    names = counterparts(live, ties)
    found: dict[str, list[Binding]] = {}
    for name, tie in ties.items():
        tensor = live.get(names.get(name, ""))
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
            for parameter in parameters.pop(_memory(tensor), []):
                found.setdefault(name if tie is None else tie.of, []).append(Binding(parameter, tie))
    return found


def parameters_of(bindings: Mapping[str, Sequence[Binding]]) -> list[nn.Parameter]:
    """All parameters of these bindings, in order."""
    return [binding.parameter for group in bindings.values() for binding in group]


def summed_gradient(
    bindings: Sequence[Binding], gradients: Mapping[int, Tensor | None], shape: Sequence[int]
) -> Tensor | None:
    """The gradient of a stored tensor, dense; None where the loss reaches none of its bindings.

    Args:
        bindings: of the tensor.
        gradients: ``id`` of a parameter → its gradient.
        shape: of the tensor.
    """
    reached = [(binding, gradients[id(binding.parameter)]) for binding in bindings]
    dense = [(binding, gradient.to_dense()) for binding, gradient in reached if gradient is not None]
    if not dense:
        return None
    if len(dense) == 1 and dense[0][0].tie is None:
        return dense[0][1]
    total = torch.zeros(tuple(shape), dtype=dense[0][1].dtype, device=dense[0][1].device)
    for binding, gradient in dense:
        binding.add_gradient(gradient, total)
    return total


def _memory(tensor: Tensor) -> Any:
    return tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride()
