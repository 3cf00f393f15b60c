"""The registry of descriptions: which types of modules have which structures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.structures.structure import Kind, Slices, Structure, rows

Description = Callable[[nn.Module, str], Iterable[Structure]]
_Described = TypeVar("_Described", bound=Description)
_T = TypeVar("_T")


@dataclass(frozen=True)
class ResidualLayer:
    """What is known of a type of layers that add to what they read, such as those of a Transformer.

    Attributes:
        is_pre_norm: whether a layer without its weights gives what it reads; if not, its last norm changes it.
        stays: whether a layer must stay, since others need what it computes beside its output.
    """

    is_pre_norm: Callable[[nn.Module], bool]
    stays: Callable[[nn.Module], bool] = lambda _: False


_DESCRIPTIONS: dict[type[nn.Module] | str, Description] = {}
_LAYERS: dict[type[nn.Module] | str, ResidualLayer] = {}


def describes(*types: type[nn.Module] | str) -> Callable[[_Described], _Described]:
    """Register a description of types of modules.

    The function gets a module and its name, and gives the :class:`Structure` of the module. It may describe modules
    inside as well; the description of the outermost module counts.

    Args:
        types: classes, or their full names (``"package.module.Class"``) where their package need not be installed.
            Subclasses are described too, unless they have a description of their own.

    >>> @describes(FeedForward)
    ... def neurons(module, name):
    ...     yield feed_forward(name, [module.inner], module.output)
    """

    def register(description: _Described) -> _Described:
        _DESCRIPTIONS.update(dict.fromkeys(types, description))
        return description

    return register


def register_layers(layer: ResidualLayer, *types: type[nn.Module] | str) -> None:
    """Register types of layers that a ``nn.ModuleList`` may lose, named as for :func:`describes`."""
    _LAYERS.update(dict.fromkeys(types, layer))


def structures_of(module: nn.Module, kind: Kind | None = None) -> list[Structure]:
    """The structures of a module and of all modules inside it, outermost first.

    Those with a parameter that is registered in several places cannot be removed: the others would need its shape.

    Args:
        module: the module.
        kind: of the structures; None for all.
    """
    found: list[Structure] = []
    claimed: set[tuple[str, int, int]] = set()
    for name, each in module.named_modules():
        described = list(_described(each, name))
        chosen = [every for every in described if every.slices and claimed.isdisjoint(_claims(every))]
        claimed.update(claim for every in chosen for claim in _claims(every))
        found += [every for every in chosen if kind in (None, every.kind)]
    shared = _shared_parameters(module)
    return [replace(each, is_removable=False) if _has(each, shared) else each for each in found]


def check_found(found: Iterable[object], module: nn.Module, kind: str) -> None:
    """Raise a TrainingError if a module has no structure of a kind that is asked for."""
    if not list(found):
        raise TrainingError(
            f"no part of {type(module).__name__} is known to have a {kind}: choose another granularity, correct the "
            "patterns, or describe its modules with lightning_compress.training.describes"
        )


def _described(module: nn.Module, name: str) -> Iterator[Structure]:
    description = _known(_DESCRIPTIONS, module)
    if description is not None:
        yield from (each for each in description(module, name) if all(map(_is_plain, each.slices)))
    if isinstance(module, nn.ModuleList) and len(module):
        stack = _stack(module, name)
        if stack is not None:
            yield stack


def _stack(layers: nn.ModuleList, name: str) -> Structure | None:
    """The layers of a list, if each is of a known type; without their norms, which the others may need."""
    known = [_known(_LAYERS, each) for each in layers]
    slices = []
    for unit, (layer, about) in enumerate(zip(layers, known, strict=True)):
        if about is None:
            return None
        if not about.stays(layer):
            slices += [each for owner in layer.modules() for each in _whole(owner, unit)]
    pre_norm = all(about is not None and about.is_pre_norm(layer) for layer, about in zip(layers, known, strict=True))
    removable = pre_norm and bool(slices)
    return Structure(name, "layer", len(layers), tuple(slices), is_removable=removable, container=layers)


def _whole(owner: nn.Module, unit: int) -> Iterator[Slices]:
    if type(owner).__name__.endswith("Norm"):
        return
    for attribute, parameter in owner._parameters.items():
        if parameter is not None and parameter.dim():
            yield Slices(owner, attribute, 0, rows(1, parameter.shape[0]), units=(unit,))


def _known(table: dict[type[nn.Module] | str, _T], module: nn.Module) -> _T | None:
    for kind in type(module).__mro__:
        found = table.get(kind) or table.get(f"{kind.__module__}.{kind.__qualname__}")
        if found is not None:
            return found
    return None


def _claims(structure: Structure) -> set[tuple[str, int, int]]:
    """What one description alone may describe: the dimensions of tensors along which the units are computed."""
    return {(structure.kind, id(each.tensor), each.dim) for each in structure.slices if not each.reads}


def _shared_parameters(module: nn.Module) -> set[int]:
    """``id`` of the parameters that are registered in several places."""
    counts = Counter(id(each) for owner in module.modules() for each in owner._parameters.values() if each is not None)
    return {key for key, count in counts.items() if count > 1}


def _has(structure: Structure, parameters: set[int]) -> bool:
    return any(id(each.tensor) in parameters for each in structure.parameters)


def _is_plain(slices: Slices) -> bool:
    """Whether the tensor is in the module as it is, neither missing nor computed from others."""
    table = slices.owner._buffers if slices.is_buffer else slices.owner._parameters
    return table.get(slices.attribute) is not None
