"""Patterns for the rules of a searched plan: which tensors are vectors, and which parts a model has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_compress.weights import Weight, Weights, matches, matches_any, strip_wrappers

EXACT = ("*running_mean", "*running_var")  # statistics of norms, which are no weights
_SMALL = 65_536  # weights of a tensor of one dimension that counts as a vector


@dataclass(frozen=True)
class Layout:
    """Attributes:
    vectors: patterns that select every bias, every parameter of a norm and the like, and no other weights.
    parts: name of a part of the model → the pattern of its classes; largest part first. Empty where there is one alone.
    """

    vectors: tuple[str, ...]
    parts: dict[str, str]


def layout_of(weights: Weights) -> Layout:
    """Few patterns that tell the tensors of a model apart, so that its plan stays short."""
    aliases: dict[str, list[str]] = {}
    for alias, tie in weights.ties.items():
        aliases.setdefault(tie.of, []).append(alias)
    names = {w.name: [w.name, *aliases.get(w.name, ())] for w in weights}
    vectors = [w.name for w in weights if is_vector(w) and not matches_any(EXACT, w.name)]
    others = [name for w in weights if not is_vector(w) for name in names[w.name]]
    return Layout(_patterns(vectors, others), _parts([w for w in weights if not is_vector(w)]))


def parts_of(weights: Iterable[Weight]) -> dict[str, tuple[str, ...]]:
    """Name of a part of the model → its tensors, largest part first; empty where there is one part alone."""
    members: dict[str, list[Weight]] = {}
    for weight in weights:
        members.setdefault(weight.class_name.partition(".")[0], []).append(weight)
    if len(members) < 2:
        return {}
    largest_first = sorted(members, key=lambda head: -sum(weight.tensor.numel() for weight in members[head]))
    return {head: tuple(weight.name for weight in members[head]) for head in largest_first}


def is_vector(weight: Weight) -> bool:
    """Whether a tensor is one of the many small ones that hardly count in bytes and much in score."""
    return weight.tensor.is_floating_point() and weight.tensor.squeeze().ndim < 2 and weight.tensor.numel() <= _SMALL


def _patterns(wanted: Sequence[str], unwanted: Sequence[str]) -> tuple[str, ...]:
    """Patterns of name endings, each as short as it can be without selecting what is unwanted."""
    found: list[str] = []
    for name in wanted:
        if any(matches(pattern, name) for pattern in found):
            continue
        parts = strip_wrappers(name).split(".")
        endings = [f"*.{'.'.join(parts[-count:])}" for count in range(1, len(parts))]
        choices = (ending for ending in endings if not any(matches(ending, other) for other in unwanted))
        found.append(next(choices, name))
    return tuple(found)


def _parts(weights: Sequence[Weight]) -> dict[str, str]:
    nested = {head for head, dot, _ in (weight.class_name.partition(".") for weight in weights) if dot}
    return {head: f"{head}.*" if head in nested else head for head in parts_of(weights)}
