"""The parts of a model, and patterns that select its tensors in the rules of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_compress.weights import Weight, Weights, matches, strip_wrappers

_MAX_SMALL = 65_536  # elements of a small parameter
_MAX_PARTS = 8  # a search compares pairs of them


@dataclass(frozen=True)
class ModelPatterns:
    """Patterns for the rules of a plan.

    Attributes:
        small_parameters: name patterns that select every small parameter (:func:`is_small_parameter`), nothing else.
        parts: part of the model → pattern of its classes, largest part first; empty where there is only one part.
    """

    small_parameters: tuple[str, ...]
    parts: dict[str, str]


def model_patterns(weights: Weights) -> ModelPatterns:
    """As few patterns as tell the tensors of a model apart, so that its plan stays short."""
    aliases: dict[str, list[str]] = {}
    for alias, tie in weights.ties.items():
        aliases.setdefault(tie.of, []).append(alias)
    names = {w.name: [w.name, *aliases.get(w.name, ())] for w in weights}
    small = [weight.name for weight in weights if is_small_parameter(weight)]
    others = [weight for weight in weights if not is_small_parameter(weight)]
    large = [weight for weight in others if weight.reason is None]
    return ModelPatterns(_suffixes(small, [name for w in others for name in names[w.name]]), _class_patterns(large))


def parts_of(weights: Iterable[Weight]) -> dict[str, tuple[str, ...]]:
    """Part of the model → names of its tensors, largest part first; empty where there is only one part.

    A part is what the first component of a class name stands for: ``encoder`` in ``encoder.attention``. Only the eight
    largest parts are told apart; the tensors of the others are in none.
    """
    members: dict[str, list[Weight]] = {}
    for weight in weights:
        members.setdefault(weight.class_name.partition(".")[0], []).append(weight)
    if len(members) < 2:
        return {}
    largest_first = sorted(members, key=lambda part: -sum(weight.tensor.numel() for weight in members[part]))
    return {part: tuple(weight.name for weight in members[part]) for part in largest_first[:_MAX_PARTS]}


def is_small_parameter(weight: Weight) -> bool:
    """Whether a tensor is a bias, the gain of a norm or the like: a one-dimensional weight, at most 65,536 elements.

    Together they take few bytes and matter much to the score.
    """
    tensor = weight.tensor
    if weight.reason is not None:
        return False
    return tensor.is_floating_point() and tensor.squeeze().ndim < 2 and tensor.numel() <= _MAX_SMALL


def _suffixes(wanted: Sequence[str], unwanted: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the ends of names, each as short as possible without selecting an unwanted name."""
    found: list[str] = []
    for name in wanted:
        if any(matches(pattern, name) for pattern in found):
            continue
        components = strip_wrappers(name).split(".")
        suffixes = [f"*.{'.'.join(components[-count:])}" for count in range(1, len(components))]
        possible = (suffix for suffix in suffixes if not any(matches(suffix, other) for other in unwanted))
        found.append(next(possible, name))
    return tuple(found)


def _class_patterns(weights: Sequence[Weight]) -> dict[str, str]:
    nested = {part for part, dot, _ in (weight.class_name.partition(".") for weight in weights) if dot}
    return {part: f"{part}.*" if part in nested else part for part in parts_of(weights)}
