"""Which layer of the teacher a layer of the student belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from torch import nn

from lightning_compress.errors import TrainingError

LayerChoice = Literal["every", "spread", "first", "last"]


def choose_layers(student: int, teacher: int, choice: LayerChoice = "every") -> tuple[int, ...]:
    """The teacher's layer for each of the student's, counted from 0.

    - ``every``: the last of each group of teacher / student layers. Patient distillation, ``PKD-Skip`` (S. Sun et al.
      2019, section 3.2); the uniform mapping of TinyBERT (X. Jiao et al. 2020, section 4.1).
    - ``last``: the last ones, ``PKD-Last`` of Sun et al.
    - ``spread``: evenly from the first to the last. Every other layer, as DistilBERT is initialized (V. Sanh et al.
      2019, section 3).
    - ``first``: the first ones.

    Args:
        student: number of layers, 1 or more.
        teacher: number of layers, at least the student's.
        choice: one of the four.

    Raises:
        TrainingError: the student has more layers than the teacher, or none; or the choice is not known.

    >>> choose_layers(6, 12), choose_layers(6, 12, "spread")
    ((1, 3, 5, 7, 9, 11), (0, 2, 4, 7, 9, 11))
    """
    if not 1 <= student <= teacher:
        raise TrainingError(
            f"the student has {student} layers and the teacher {teacher}, expected at most as many: make the student "
            "smaller, or match layers by name"
        )
    if choice == "every":
        return tuple((layer + 1) * teacher // student - 1 for layer in range(student))
    if choice == "spread":
        gaps = max(student - 1, 1)
        return tuple((2 * layer * (teacher - 1) + gaps) // (2 * gaps) for layer in range(student))
    if choice not in get_args(LayerChoice):
        raise TrainingError(f"the choice of layers is {choice!r}, expected {', '.join(get_args(LayerChoice))}")
    return tuple(range(student)) if choice == "first" else tuple(range(teacher - student, teacher))


def match_layers(
    student: nn.Module,
    teacher: nn.Module,
    choice: LayerChoice = "every",
    *,
    stacks: Mapping[str, str] | None = None,
    final: bool = True,
) -> dict[str, str]:
    """Name of each layer of the student → name of its layer in the teacher, for all stacks of layers.

    A stack is an ``nn.ModuleList`` that is in no other.

    Args:
        student: the student.
        teacher: the teacher.
        choice: see :func:`choose_layers`.
        stacks: name of a stack of the student → name of one of the teacher. By default those of the same name, or the
            only one of each.
        final: with the student's final layers; without, as Sun et al. have it, who leave the final layer to the scores.

    Raises:
        TrainingError: stacks cannot be matched, or the student has more layers than the teacher.
    """
    ours, theirs = _stacks(student), _stacks(teacher)
    matched = {}
    for name, other in (_pairs(ours, theirs) if stacks is None else dict(stacks)).items():
        if name not in ours or other not in theirs:
            raise _unmatched(f"there is no stack {name!r} and {other!r}", ours, theirs)
        try:
            chosen = choose_layers(ours[name], theirs[other], choice)
        except TrainingError as error:
            raise TrainingError(f"{name!r} and the teacher's {other!r}: {error}") from error
        for layer in range(ours[name] if final else ours[name] - 1):
            matched[f"{name}.{layer}"] = f"{other}.{chosen[layer]}"
    return matched


def _stacks(module: nn.Module) -> dict[str, int]:
    """Name of each stack → its number of layers."""
    found: dict[str, int] = {}
    for name, each in module.named_modules():
        inside = any(name.startswith(f"{other}.") for other in found)
        if isinstance(each, nn.ModuleList) and len(each) and not inside:
            found[name] = len(each)
    return found


def _pairs(ours: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, str]:
    if len(ours) == len(theirs) == 1:
        return dict(zip(ours, theirs, strict=True))
    if not ours or not set(ours) <= set(theirs):
        raise _unmatched("the stacks of layers have other names, or there are none", ours, theirs)
    return {name: name for name in ours}


def _unmatched(reason: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> TrainingError:
    first, second = (
        ", ".join(f"{name!r} with {layers}" for name, layers in each.items()) or "none" for each in (ours, theirs)
    )
    return TrainingError(
        f"the layers of the student cannot be matched: {reason}. Its stacks are {first}, those of the teacher "
        f"{second}: give stacks={{student's: teacher's}}, or name each layer"
    )
