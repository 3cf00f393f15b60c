"""Structures: units of a module that can be removed as a whole, such as the heads of an attention.

A structure says which slices of which tensors form each unit. What reads a unit (the columns of the next layer) belongs
to it, so a module without the unit computes the same as one in which all of the unit is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["head", "neuron", "channel", "layer"]


@dataclass(frozen=True, eq=False)
class Slices:
    """The elements of one tensor that belong to units.

    Attributes:
        owner: the module in which the tensor is registered.
        attribute: its name there.
        dim: the dimension along which units lie.
        positions: ``[units, size]``, int64: the positions of each unit along ``dim``.
        reads: whether these elements read the output of the unit; if all of them are 0, nothing else of it counts.
        is_buffer: whether the tensor is a buffer. It is cut when units are removed, and never pruned.
        units: the units that the rows of ``positions`` belong to; None for all, in order.
    """

    owner: nn.Module
    attribute: str
    dim: int
    positions: Tensor
    reads: bool = False
    is_buffer: bool = False
    units: tuple[int, ...] | None = None

    @property
    def tensor(self) -> Tensor:
        """The tensor, as the module holds it now."""
        found = getattr(self.owner, self.attribute)
        assert isinstance(found, Tensor)
        return found

    @property
    def size(self) -> int:
        """How many elements each unit has here."""
        tensor = self.tensor
        return self.positions.shape[1] * (tensor.numel() // max(tensor.shape[self.dim], 1))

    def chosen(self, values: Tensor) -> Tensor:
        """The values of the units that have elements here, ``[units here]``, of ``values: [units]``."""
        return values if self.units is None else values[list(self.units)]

    def sums(self, scores: Tensor, units: int) -> Tensor:
        """``[units]``: the sum of the scores of each unit's elements; ``scores`` has the shape of the tensor."""
        others = [dim for dim in range(scores.dim()) if dim != self.dim]
        along = scores.sum(others) if others else scores
        found = along[self.positions.to(scores.device)].sum(1)
        if self.units is None:
            return found
        totals = found.new_zeros(units)
        totals[list(self.units)] = found
        return totals

    def spread(self, values: Tensor) -> Tensor:
        """The value of its unit for each element, 0 for others; broadcasts to the shape of the tensor."""
        tensor = self.tensor
        along = values.new_zeros(tensor.shape[self.dim])
        positions = self.positions.to(values.device)
        along[positions] = self.chosen(values)[:, None].expand_as(positions)
        return along.reshape([-1 if dim == self.dim else 1 for dim in range(tensor.dim())])


@dataclass(frozen=True, eq=False)
class Structure:
    """Units of one kind in one place.

    Attributes:
        name: of the module, or of the part of it, that has the units.
        kind: ``head``, ``neuron``, ``channel`` or ``layer``.
        units: how many there are.
        slices: their elements. The first slices must belong to this structure alone along their dimension.
        is_removable: whether cutting the slices removes the units. Otherwise they can be 0, and stay.
        least: how many units stay when others are removed.
        balanced: structures with the same text, which is not empty, keep the same number of units.
        finish: called with the number of units that are left, to set other attributes of modules.
        replaced: the module that must be replaced by a form with any number of units before some of them can go.
        container: of layers, the list that they are removed from.
    """

    name: str
    kind: Kind
    units: int
    slices: tuple[Slices, ...]
    is_removable: bool = True
    least: int = 1
    balanced: str = ""
    finish: Callable[[int], None] | None = None
    replaced: nn.Module | None = None
    container: nn.ModuleList | None = None

    @property
    def parameters(self) -> tuple[Slices, ...]:
        """The slices of parameters."""
        return tuple(each for each in self.slices if not each.is_buffer)

    def sizes(self) -> Tensor:
        """``[units]``, float32: how many elements each unit has in parameters."""
        totals = torch.zeros(self.units)
        for each in self.parameters:
            rows = range(self.units) if each.units is None else each.units
            totals[list(rows)] += each.size
        return totals

    @torch.no_grad()
    def zero_units(self) -> Tensor:
        """``[units]``, bool: the units without any effect: all that reads them is 0; or, if nothing does, they are."""
        deciding = [each for each in self.parameters if each.reads] or self.parameters
        nonzero = sum(each.sums((each.tensor != 0).float(), self.units).cpu() for each in deciding)
        assert isinstance(nonzero, Tensor)
        return (nonzero == 0) & (self.sizes() > 0)


def rows(units: int, size: int = 1, *, start: int = 0, strides: Sequence[int] = (0,)) -> Tensor:
    """Positions ``[units, size · strides]`` of units that lie one after the other.

    Args:
        units: how many.
        size: positions of each, side by side.
        start: the first position.
        strides: offsets at which the units lie again, such as those of the four gates of an LSTM.
    """
    first = start + torch.arange(units * size).reshape(units, size)
    return torch.cat([first + offset for offset in strides], 1)


def linear_rows(layer: nn.Linear, positions: Tensor) -> list[Slices]:
    """The slices of units that a linear layer computes: rows of the weight, elements of the bias."""
    found = [Slices(layer, "weight", 0, positions)]
    return found if layer.bias is None else [*found, Slices(layer, "bias", 0, positions)]


def linear_columns(layer: nn.Linear, positions: Tensor) -> list[Slices]:
    """The slices of units that a linear layer reads: columns of its weight."""
    return [Slices(layer, "weight", 1, positions, reads=True)]


def feed_forward(name: str, inner: Sequence[nn.Linear], outer: nn.Linear) -> Structure:
    """The neurons between linear layers: ``inner`` compute them (several, if gated), ``outer`` reads them."""
    neurons = outer.in_features
    positions = rows(neurons)
    made = [each for layer in inner for each in linear_rows(layer, positions)]
    return Structure(name, "neuron", neurons, (*made, *linear_columns(outer, positions)))


def attention_heads(
    name: str,
    heads: int,
    projections: Mapping[str, nn.Linear],
    output: nn.Linear,
    *,
    is_removable: bool = True,
    finish: Callable[[int], None] | None = None,
) -> Structure:
    """The heads of an attention with linear layers for queries, keys and values, whose rows lie head by head."""
    positions = rows(heads, output.in_features // heads)
    made = [each for layer in projections.values() for each in linear_rows(layer, positions)]
    slices = (*made, *linear_columns(output, positions))
    return Structure(name, "head", heads, slices, is_removable=is_removable, finish=finish)
