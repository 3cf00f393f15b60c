"""Cutting units out of the tensors of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_compress.training.structures.structure import Slices, Structure


@torch.no_grad()
def cut(module: nn.Module, removed: Mapping[Structure, Tensor]) -> None:
    """Remove units in place.

    Args:
        module: the module that has all these structures.
        removed: structure → ``[units]``, bool: the units that go.
    """
    places: dict[tuple[nn.Module, str, int], list[Tensor]] = {}
    for structure, units in removed.items():
        for each in structure.slices:
            positions = each.positions[each.chosen(units.cpu())].reshape(-1)
            places.setdefault((each.owner, each.attribute, each.dim), []).append(positions)
    owners = _owners(module)
    for (owner, attribute, dim), parts in places.items():
        _replace(owners, owner, attribute, dim, torch.cat(parts))
    for structure, units in removed.items():
        if structure.finish is not None:
            structure.finish(int((~units).sum()))
    for resized in dict.fromkeys(owner for owner, _, _ in places):
        _set_sizes(resized)


def keep_balance(removed: Mapping[Structure, Tensor]) -> dict[Structure, Tensor]:
    """Keep more units where structures need as many as others, or at least one. The last ones stay."""
    left = {each: max(int((~units).sum()), each.least) for each, units in removed.items()}
    result = {}
    for structure, units in removed.items():
        number = max(left[each] for each in left if each is structure or (each.balanced and _same(each, structure)))
        order = torch.sort(units, stable=True).indices  # those that are not removed come first
        result[structure] = torch.ones_like(units).index_fill_(0, order[:number], False)
    return result


def _same(first: Structure, second: Structure) -> bool:
    return first.balanced == second.balanced


def _owners(module: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """``id`` of a parameter → where it is registered."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                found.setdefault(id(parameter), []).append((owner, name))
    return found


def _replace(
    owners: dict[int, list[tuple[nn.Module, str]]], owner: nn.Module, attribute: str, dim: int, positions: Tensor
) -> None:
    old = getattr(owner, attribute)
    kept = torch.ones(old.shape[dim], dtype=torch.bool)
    kept[positions] = False
    new = old.detach().index_select(dim, kept.nonzero()[:, 0].to(old.device))
    if not isinstance(old, nn.Parameter):
        setattr(owner, attribute, new)
        return
    parameter = nn.Parameter(new, requires_grad=old.requires_grad)
    places = owners.pop(id(old), [(owner, attribute)])
    for each, name in places:
        setattr(each, name, parameter)
    owners[id(parameter)] = places


def _set_sizes(module: nn.Module) -> None:
    """Set the attributes that say the sizes of a module of torch to those of its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        module.out_channels, module.in_channels = module.weight.shape[:2]
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        tables: Sequence[Tensor | None] = (module.weight, module.running_mean)
        module.num_features = next((len(each) for each in tables if each is not None), module.num_features)
    elif isinstance(module, nn.LSTM):
        reads, recurrent = (module.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0"))
        module.input_size, module.hidden_size = reads.shape[1], recurrent.shape[1]
        module.flatten_parameters()


def slices_name(module: nn.Module, slices: Slices) -> str:
    """The name of the tensor in the state dict of the module."""
    owner = next(name for name, each in module.named_modules() if each is slices.owner)
    return f"{owner}.{slices.attribute}" if owner else slices.attribute
