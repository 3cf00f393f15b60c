"""The classes of all tensors of a model, by the rules for translation models and by its numbered layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from lightning_compress.weights.arguments import nothing_matches
from lightning_compress.weights.classes.numbered import layer_classes
from lightning_compress.weights.classes.translation import OTHER, translation_classes
from lightning_compress.weights.classes.vectors import joined_vectors, told_apart_by_kind
from lightning_compress.weights.names import matches, strip_wrappers

_TWO_SIDES = ({"encoder", "decoder"}, {"source_embedding", "target_embedding"})


def classify(
    names: Iterable[str],
    *,
    module: nn.Module | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    overrides: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, str]:
    """Assign a class to each tensor name.

    Args:
        names: tensor names, as in a state dict.
        module: the module they come from; its embeddings and its vocabulary projection are then recognized by type and
            size, independent of their names.
        shapes: of the tensors by name. With them, a layer that has only vectors, such as a norm, joins the layer
            before it, and the layers of one sequence are told apart by kind: ``conv.0``, ``linear.4``.
        overrides: class name → pattern or patterns of its tensors; they take precedence over the derived classes.

    Returns:
        name → class: ``source_embedding``, ``target_embedding``, ``embedding`` (side unknown), ``encoder.K``,
        ``decoder.K`` or ``softmax``; else the numbered layer (``h.3``, ``layer2.0``, ``conv.1``) or the submodule
        (``pooler``) that holds the tensor; ``other`` for a parameter of the model itself, and for submodules of a
        translation model outside the classes above; or a class of ``overrides``. Tensors of an encoder or decoder
        outside its numbered layers, such as a final norm, belong to the last layer.

    Raises:
        WeightsError: a pattern of ``overrides`` matches nothing.
    """
    names = list(names)
    stripped = {name: strip_wrappers(name) for name in names}
    result = translation_classes(stripped, module)
    others = {name: stripped[name] for name, value in result.items() if value == OTHER}
    layers = layer_classes(others)
    if _is_translation_model(result):
        layers = {name: value for name, value in layers.items() if "." in value}
    if shapes is not None:
        layers = told_apart_by_kind(joined_vectors(result, layers, shapes), shapes)
    result |= layers
    for class_name, patterns in (overrides or {}).items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            chosen = [name for name in names if matches(pattern, name)]
            if not chosen:
                raise nothing_matches(f"class {class_name!r}:", pattern, names)
            result.update(dict.fromkeys(chosen, class_name))
    return result


def _is_translation_model(classes: Mapping[str, str]) -> bool:
    parts = {value.partition(".")[0] for value in classes.values()}
    return any(sides <= parts for sides in _TWO_SIDES)
