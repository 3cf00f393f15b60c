"""Groups of weights that are pruned or penalised together, in one tensor or in several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.messages.name_lists import first_names
from lightning_compress.training.pruning.grouping import Grouping
from lightning_compress.training.structures import Structure, check_found, structures_of
from lightning_compress.weights import Binding, Weights, bindings_of, matches_any

_log = logging.getLogger(__name__)


class Groups(Protocol):
    """Groups that are ranked together where tensors are ranked apart.

    Attributes:
        name: of the tensor, or of the structure.
        tensors: name of a stored tensor → the tensor, for those that have elements of the groups.
        sizes: ``[groups]``, float32: the number of elements of each group.
    """

    name: str
    tensors: dict[str, Tensor]
    sizes: Tensor

    def sums(self, scores: Mapping[str, Tensor]) -> Tensor:
        """``[groups]``: the sum of the scores of their elements; ``scores`` has each of the tensors."""

    def spread(self, values: Tensor) -> dict[str, Tensor]:
        """Name → the value of its group for each element, broadcasting to the tensor; 0 where there is no group."""


class GroupsOfTensor:
    """The weights, rows, columns or blocks of one tensor.

    Args:
        name: of the tensor.
        tensor: the tensor.
        grouping: how it is divided.

    Raises:
        TrainingError: it cannot be divided so.
    """

    def __init__(self, name: str, tensor: Tensor, grouping: Grouping) -> None:
        grouping.check(name, tensor)
        self.name, self.tensors = name, {name: tensor}
        self._grouping = grouping
        means = grouping.means(tensor.detach().float())
        self.sizes = torch.full((len(means),), tensor.numel() / max(len(means), 1))

    def sums(self, scores: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Groups`."""
        return self._grouping.means(scores[self.name]) * (self.tensors[self.name].numel() / max(len(self.sizes), 1))

    def spread(self, values: Tensor) -> dict[str, Tensor]:
        """See :class:`Groups`."""
        return {self.name: self._grouping.spread(values, self.tensors[self.name])}


class GroupsOfStructure:
    """The units of a structure.

    Args:
        structure: the structure.
        names: ``id`` of a parameter → the name of the stored tensor that it is.
    """

    def __init__(self, structure: Structure, names: Mapping[int, str]) -> None:
        self.name = structure.name
        self._structure = structure
        on_device = [replace(each, positions=each.positions.to(each.tensor.device)) for each in structure.parameters]
        self._slices = [(names[id(each.tensor)], each) for each in on_device]
        self.tensors = {name: each.tensor.detach() for name, each in self._slices}
        self.sizes = structure.sizes()

    def sums(self, scores: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Groups`."""
        found = [each.sums(scores[name], self._structure.units) for name, each in self._slices]
        return torch.stack(found).sum(0)

    def spread(self, values: Tensor) -> dict[str, Tensor]:
        """See :class:`Groups`."""
        result: dict[str, Tensor] = {}
        for name, each in self._slices:
            part = each.spread(values)
            known = result.get(name)
            if known is not None:  # rows and columns of the same tensor, such as the recurrence of an LSTM
                part = known | part if values.dtype == torch.bool else known + part
            result[name] = part
        return result


def groups_of(
    module: nn.Module, weights: Weights, patterns: Sequence[str] | None, grouping: Grouping
) -> tuple[list[Groups], dict[str, list[Binding]]]:
    """The groups of a module's weights, and the parameters that hold each tensor.

    Args:
        module: the module, whose parameters must keep their memory.
        weights: its weights, in the memory of its parameters.
        patterns: which tensors are grouped, or for structures, which structures by their names. None for all structures
            or all tensors of more than one dimension.
        grouping: how.

    Raises:
        TrainingError: there is nothing to group, or a tensor cannot be grouped so.
    """
    bindings = bindings_of(weights, module)
    if grouping.kind is not None:
        return _groups_of_structures(module, bindings, patterns, grouping), bindings
    tensors = [each for each in weights if each.name in bindings]
    if patterns is None:
        chosen = [each for each in tensors if each.tensor.dim() > 1]
    else:
        chosen = [each for each in tensors if matches_any(patterns, each.name)]
    if not chosen:
        known = "parameter has two dimensions" if patterns is None else f"parameter matches {', '.join(patterns)}"
        raise TrainingError(f"no {known}: correct the patterns")
    return [GroupsOfTensor(each.name, each.tensor, grouping) for each in chosen], bindings


def _groups_of_structures(
    module: nn.Module, bindings: Mapping[str, Sequence[Binding]], patterns: Sequence[str] | None, grouping: Grouping
) -> list[Groups]:
    assert grouping.kind is not None
    found = structures_of(module, grouping.kind)
    if patterns is not None:
        found = [each for each in found if matches_any(patterns, each.name)]
    check_found(found, module, grouping.kind)
    names = {id(each.parameter): name for name, several in bindings.items() for each in several if each.tie is None}
    known = [each for each in found if all(id(part.tensor) in names for part in each.parameters)]
    if len(known) < len(found):
        left_out = [each.name for each in found if each not in known]
        _log.warning("not pruned, since not all of it is stored: %s", first_names(left_out))
    check_found(known, module, grouping.kind)
    return [GroupsOfStructure(each, names) for each in known]
