"""Layers by the shapes of their tensors: which have only vectors, and which are convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_compress.weights.classes.translation import EMBEDDINGS, OTHER, SOFTMAX

_KINDS = {2: "linear"}  # by the number of dimensions of the matrix; with more it is a convolution


def joined_vectors(
    classes: Mapping[str, str], layers: Mapping[str, str], shapes: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    """The layers, in which one that has only vectors, such as a norm, belongs to the layer before it.

    Args:
        classes: name → class of all tensors by the rules for translation models, in the order of the module.
        layers: name → layer, of those that :func:`layer_classes` found.
        shapes: of the tensors by name.
    """
    classes = {**classes, **layers}
    with_matrix = {value for name, value in classes.items() if _dimensions(shapes[name]) > 1}
    owners = with_matrix - {*EMBEDDINGS, SOFTMAX, OTHER}
    lonely = list(dict.fromkeys(value for value in layers.values() if value not in with_matrix))
    order = list(dict.fromkeys(classes.values()))
    joins = {value: _neighbour(value, order, owners) for value in lonely}
    return {name: joins.get(value, value) for name, value in layers.items()}


def told_apart_by_kind(layers: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The layers of a model that is one sequence, each called by its kind: ``conv.0``, ``linear.4``.

    Only where all layers are of one stack, each with matrices of one kind, and the kinds differ.
    """
    kinds: dict[str, set[str]] = {}
    for name, layer in layers.items():
        if _dimensions(shapes[name]) > 1:
            kinds.setdefault(layer, set()).add(_KINDS.get(len(shapes[name]), "conv"))
    stacks = {layer.rpartition(".")[0] for layer in layers.values()}
    found = {kind for each in kinds.values() for kind in each}
    if len(stacks) > 1 or len(found) < 2 or any(len(each) > 1 for each in kinds.values()):
        return dict(layers)
    numbers = {layer: layer.rpartition(".")[2] for layer in kinds}
    return {
        name: f"{min(kinds[layer])}.{numbers[layer]}" if layer in kinds else layer for name, layer in layers.items()
    }


def _neighbour(lonely: str, order: Sequence[str], owners: set[str]) -> str:
    """The class that a layer without matrices joins: the one before it, else the one after it, else itself."""
    stack, _, number = lonely.rpartition(".")
    same = sorted(int(_number(value)) for value in owners if value.rpartition(".")[0] == stack and _number(value))
    if stack and number.isdigit() and same:
        before = [each for each in same if each < int(number)]
        return f"{stack}.{before[-1] if before else same[0]}"
    position = order.index(lonely)
    candidates = (*reversed(order[:position]), *order[position + 1 :])
    found = next((value for value in candidates if value in owners), lonely)
    return found if number.isdigit() and stack else _last_of(found, owners)


def _last_of(layer: str, owners: set[str]) -> str:
    """The last layer of the stack of a layer: a final norm stands behind all."""
    stack, _, number = layer.rpartition(".")
    if not (stack and number.isdigit()):
        return layer
    return f"{stack}.{max(int(_number(value)) for value in owners if value.rpartition('.')[0] == stack)}"


def _number(layer: str) -> str:
    number = layer.rpartition(".")[2]
    return number if number.isdigit() else ""


def _dimensions(shape: Sequence[int]) -> int:
    return sum(size != 1 for size in shape)
