"""Removing what pruning has set to 0: heads, neurons, channels and layers.

The smaller module computes the same as the pruned one, to rounding. It is an ordinary module that trains on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError, did_you_mean
from lightning_compress.training.structures.cutting import cut, keep_balance, slices_name
from lightning_compress.training.structures.registry import structures_of
from lightning_compress.training.structures.smaller_attention import SmallerAttention
from lightning_compress.training.structures.smaller_lstm import SmallerLSTM
from lightning_compress.training.structures.structure import Structure

_log = logging.getLogger(__name__)


def shrink(module: nn.Module) -> nn.Module:
    """Remove the heads, neurons, channels and layers that have no effect, because their weights are 0.

    In place, and not while an optimizer holds the parameters. ``nn.MultiheadAttention`` and ``nn.LSTM`` that lose units
    are replaced by :class:`SmallerAttention` and :class:`SmallerLSTM`. At least one unit of each structure stays.

    Returns:
        the module; if it is itself an ``nn.MultiheadAttention`` or ``nn.LSTM``, what replaces it.
    """
    before = _parameters(module)
    for stack in structures_of(module, "layer"):
        if stack.is_removable:
            zero = stack.zero_units()
            zero[: max(0, stack.least - int((~zero).sum()))] = False
            _remove_layers(module, stack, zero.nonzero()[:, 0].tolist())
    smaller = _with_replacements(module, [each for each in structures_of(module) if _shrinks(each)])
    found = [each for each in structures_of(smaller) if each.kind != "layer" and _shrinks(each)]
    balanced = {each.balanced for each in found} - {""}
    others = [each for each in structures_of(smaller) if each.balanced in balanced and each not in found]
    cut(smaller, keep_balance({each: each.zero_units() for each in [*found, *others]}))
    _log.info("%s has %s weights, of %s", type(module).__name__, f"{_parameters(smaller):,}", f"{before:,}")
    return smaller


def shrink_to(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give a new module the sizes of one that was shrunk, so that it can load those weights.

    For ``on_load_checkpoint`` of a module whose arguments say the original sizes.

    Args:
        module: as it is constructed.
        state: weights, by the module's names. Their values are not read.

    Returns:
        as of :func:`shrink`.

    Raises:
        TrainingError: a tensor is larger than in the module, or has no whole number of units.
    """
    for stack in structures_of(module, "layer"):
        pattern = re.compile(re.escape(stack.name) + r"\.(\d+)\.")
        left = len({each[1] for each in map(pattern.match, state) if each})
        if left:
            _remove_layers(module, stack, range(left, stack.units))
    smaller = _with_replacements(module, [each for each in structures_of(module) if _is_smaller(module, each, state)])
    removed = {}
    for structure in structures_of(smaller):
        if structure.kind != "layer":
            left = _units_left(smaller, structure, state)
            removed[structure] = torch.arange(structure.units) >= left
    cut(smaller, removed)
    return smaller


def drop_layers(module: nn.Module, share: float = 0.5, *, layers: Sequence[str] | None = None) -> nn.Module:
    """Remove whole layers, whatever their weights are: of a module that was trained with ``LayerDrop``.

    Args:
        module: changed in place.
        share: of the layers of each stack; those go that lie evenly among the others (A. Fan, E. Grave and A. Joulin
            2020, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.2, "every other").
        layers: names of the layers to remove in place of a share, such as ``["encoder.layers.3"]``.

    Raises:
        TrainingError: there are no such layers, all layers of a stack would go, or other layers need one.
    """
    if not 0 < share < 1:
        raise TrainingError(f"share is {share}, expected a number between 0 and 1")
    stacks = structures_of(module, "layer")
    known = [f"{each.name}.{unit}" for each in stacks for unit in range(each.units)]
    for name in layers or ():
        if name not in known:
            raise TrainingError(f"no layer {name!r}{did_you_mean(name, known)}; there are {', '.join(known) or 'none'}")
    if not known:
        raise TrainingError(f"{type(module).__name__} has no stack of known layers: describe them by register_layers")
    for stack in stacks:
        if layers is None:
            chosen = _evenly(stack.units, share)
        else:
            chosen = [unit for unit in range(stack.units) if f"{stack.name}.{unit}" in layers]
        sizes = stack.sizes()
        if layers is None:
            chosen = [unit for unit in chosen if sizes[unit]]
        fixed = [f"{stack.name}.{unit}" for unit in chosen if not sizes[unit]]
        if fixed or len(chosen) == stack.units:
            raise TrainingError(
                f"{', '.join(fixed)} computes what the layers after it read: leave it"
                if fixed
                else f"all {stack.units} layers of {stack.name} would go: leave one"
            )
        _remove_layers(module, stack, chosen)
    return module


def _evenly(units: int, share: float) -> list[int]:
    """Which of so many layers go: the last of each group of 1 / share."""
    return [unit for unit in range(units) if int((unit + 1) * share + 1e-9) > int(unit * share + 1e-9)]


def _shrinks(structure: Structure) -> bool:
    left = int((~structure.zero_units()).sum())
    return structure.is_removable and max(left, structure.least) < structure.units


def _with_replacements(module: nn.Module, structures: Iterable[Structure]) -> nn.Module:
    """The module, in which those modules are replaced that have fixed numbers of units."""
    for old in dict.fromkeys(each.replaced for each in structures if each.replaced is not None):
        assert isinstance(old, (nn.MultiheadAttention, nn.LSTM))
        new = SmallerAttention(old) if isinstance(old, nn.MultiheadAttention) else SmallerLSTM(old)
        if old is module:
            return new
        for parent in module.modules():
            for name, child in parent.named_children():
                if child is old:
                    setattr(parent, name, new)
    for encoder in module.modules():
        if isinstance(encoder, nn.TransformerEncoder) and any(
            isinstance(e, SmallerAttention) for e in encoder.modules()
        ):
            encoder.use_nested_tensor = False  # or the encoder would give its layers sequences of several lengths
    return module


def _remove_layers(module: nn.Module, stack: Structure, gone: Collection[int]) -> None:
    layers = stack.container
    assert layers is not None
    for owner in module.modules():
        if any(child is layers for child in owner.children()) and getattr(owner, "num_layers", None) == len(layers):
            owner.__dict__["num_layers"] = len(layers) - len(gone)
    for unit in sorted(gone, reverse=True):
        del layers[unit]
    left = [unit for unit in range(stack.units) if unit not in gone]
    for new, (old, layer) in enumerate(zip(left, layers, strict=True)):
        for part in layer.modules():
            if getattr(part, "layer_idx", None) == old:  # where caches of transformers keep keys and values
                part.__dict__["layer_idx"] = new


def _is_smaller(module: nn.Module, structure: Structure, state: Mapping[str, Tensor]) -> bool:
    """Whether the state has the smaller form of the module that has the structure."""
    if structure.replaced is None:
        return False
    name = slices_name(module, structure.slices[0])
    if isinstance(structure.replaced, nn.LSTM):
        return f"{name.rpartition('.')[0]}.units_l0".removeprefix(".") in state
    return name in state and state[name].shape != structure.slices[0].tensor.shape


def _units_left(module: nn.Module, structure: Structure, state: Mapping[str, Tensor]) -> int:
    first = structure.slices[0]
    name, size = slices_name(module, first), first.positions.shape[1]
    if name not in state:
        return structure.units
    length = state[name].shape[first.dim]
    if length % size or not 0 < length <= structure.units * size:
        raise TrainingError(
            f"tensor {name!r} has {length} rows, expected 1 to {structure.units} times {size}: build the module with "
            "the sizes that it had before it was shrunk"
        )
    return length // size


def _parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())
