"""Layers of any model, from the numbers in the paths of its modules.

A stack is a module whose children are numbered, as those of ``nn.ModuleList`` and ``nn.Sequential`` are, or several
modules with one name and a number: ``conv1``, ``conv2``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lightning_compress.weights.classes.translation import OTHER, is_plain_parameter, without_parametrization

_DOMINANT = 0.8  # share of the tensors from which a prefix is left out of the names of classes
_MOSTLY = 0.6  # share of the tensors of one module that lie in numbered layers, if it is no layer itself
_NUMBER_AT_END = re.compile(r"^(.*[^\d_])_?(\d+)$")
_RECURRENT_LAYER = re.compile(r"_l(\d+)(?:_reverse)?$")
_UNNAMED = "layers"  # the stack of a sequence without a name

Path = tuple[str, ...]


def layer_classes(names: Mapping[str, str]) -> dict[str, str]:
    """The layer of each tensor; parameters of the model itself have none and are left out.

    Args:
        names: name → the name without wrappers.

    Returns:
        name → ``stack.number``, or the submodule that holds the tensor where no number is in its path. What nearly all
        paths begin with is left out: ``transformer.h.3.attn.bias`` is in ``h.3``.
    """
    paths = {name: tuple(without_parametrization(inner).split(".")) for name, inner in names.items()}
    prefix = _dominant_prefix(list(paths.values()))
    inner = {name: path[len(prefix) :] if path[: len(prefix)] == prefix else path for name, path in paths.items()}
    stacks = _Stacks(inner.values())
    found = {name: stacks.layer(path) for name, path in inner.items()}
    numbered = {layer.partition(".")[0] for layer in found.values() if layer and "." in layer}
    result = {}
    for name, layer in found.items():
        if layer in numbered:  # a class is a part of the model or lies within one
            result[name] = ".".join(inner[name][:2])
        elif layer != OTHER and ("." in layer or not is_plain_parameter(inner[name][-1])):
            result[name] = layer
    return result


class _Stacks:
    """Which components of paths are numbers of layers."""

    def __init__(self, paths: Iterable[Path]) -> None:
        numbers: dict[tuple[Path, str], set[str]] = {}
        self._with_blocks: set[Path] = set()  # modules whose numbered children have submodules
        for path in paths:
            for depth, part in enumerate(path[:-1]):
                if found := _NUMBER_AT_END.match(part):
                    numbers.setdefault((path[:depth], found[1]), set()).add(found[2])
                if part.isdigit() and depth + 2 < len(path):
                    self._with_blocks.add(path[:depth])
        self._series = {key for key, found in numbers.items() if len(found) > 1}

    def layer(self, path: Path) -> str:
        """The class of the tensor with this path."""
        for depth, part in enumerate(path[:-1]):
            if part.isdigit():
                return ".".join((*(path[:depth] or (_UNNAMED,)), part))
            found = _NUMBER_AT_END.match(part)
            if found is None or (path[:depth], found[1]) not in self._series:
                continue
            if path[: depth + 1] in self._with_blocks and path[depth + 1].isdigit():
                return ".".join(path[: depth + 2])
            return ".".join((*path[:depth], found[1], found[2]))
        if recurrent := _RECURRENT_LAYER.search(path[-1]):
            return ".".join((*(path[:-1] or (_UNNAMED,)), recurrent[1]))
        return path[0] if len(path) > 1 else OTHER


def _dominant_prefix(paths: Sequence[Path]) -> Path:
    """The path of the module that holds nearly all tensors; never that of a stack of layers, nor of one layer."""
    prefix: Path = ()
    while True:
        depth = len(prefix)
        children = Counter(path[depth] for path in paths if len(path) > depth + 1 and path[:depth] == prefix)
        if not children:
            return prefix[:-1]
        child, count = children.most_common(1)[0]
        inner = (*prefix, child)
        if count < _DOMINANT * len(paths) or not _holds_layers(inner, paths, count):
            return prefix if len(children) > 1 or _is_stack(inner, paths) else prefix[:-1]
        prefix = inner


def _holds_layers(module: Path, paths: Sequence[Path], count: int) -> bool:
    """Whether a module is neither a stack nor a layer, but holds them."""
    depth = len(module)
    rests = [path[depth:-1] for path in paths if path[:depth] == module]
    if _is_stack(module, paths):
        return any(_is_a_model(module, number, paths) for number in {rest[0] for rest in rests if rest})
    if not module[-1].isdigit():
        return any(rests)
    numbered = [_up_to_number(rest) for rest in rests]
    within = [path for path in numbered if path]
    return len(set(within)) > 1 and len(within) >= _MOSTLY * count


def _is_stack(module: Path, paths: Sequence[Path]) -> bool:
    depth = len(module)
    return any(path[:depth] == module and path[depth].isdigit() for path in paths if len(path) > depth + 1)


def _is_a_model(stack: Path, number: str, paths: Sequence[Path]) -> bool:
    """Whether one numbered child of a stack is no layer, but a model that holds nearly all tensors."""
    module = (*stack, number)
    count = sum(path[: len(module)] == module for path in paths)
    return number.isdigit() and count >= _DOMINANT * len(paths) and _holds_layers(module, paths, count)


def _up_to_number(path: Path) -> Path:
    depth = next((depth for depth, part in enumerate(path) if part.isdigit()), None)
    return () if depth is None else path[: depth + 1]
