"""The first weights of a smaller student: those of layers of its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.distillation.layers import LayerChoice, match_layers
from lightning_compress.weights import matches_any

_Module = TypeVar("_Module", bound=nn.Module)


def initialize(
    student: _Module,
    teacher: nn.Module,
    layers: LayerChoice | Mapping[str, str] = "spread",
    *,
    new: Sequence[str] = (),
) -> _Module:
    """Give a student with fewer layers the weights of its teacher, in place.

    Layers get the weights of the teacher's layers that belong to them, all other parameters and buffers those of the
    same name. V. Sanh et al. 2019, "DistilBERT", section 3 ("taking one layer out of two").

    Args:
        student: as wide as the teacher.
        teacher: unchanged.
        layers: see :func:`choose_layers`; or name of a module of the student → name of one of the teacher's.
        new: patterns of names of the student's tensors that keep their values, such as ``["classifier.*"]``.

    Returns:
        the student.

    Raises:
        TrainingError: layers cannot be matched, or a tensor has no counterpart of its shape in the teacher. The student
            is as it was.
    """
    mapping = match_layers(student, teacher, layers) if isinstance(layers, str) else dict(layers)
    theirs = teacher.state_dict()
    wanted = {name: each for name, each in student.state_dict().items() if not matches_any(new, name)}
    sources = {name: _source(name, mapping) for name in wanted}
    wrong = [
        f"{name} {list(tensor.shape)} (teacher: {sources[name]} "
        f"{list(theirs[sources[name]].shape) if sources[name] in theirs else 'missing'})"
        for name, tensor in wanted.items()
        if sources[name] not in theirs or theirs[sources[name]].shape != tensor.shape
    ]
    if wrong:
        raise TrainingError(
            f"{len(wrong)} tensors of the student have no counterpart of their shape in the teacher: "
            f"{'; '.join(wrong[:4])}. Give the student the teacher's width, match other layers, or name tensors that "
            "keep their values, as new=['classifier.*']"
        )
    student.load_state_dict({name: theirs[source] for name, source in sources.items()}, strict=False)
    return student


def _source(name: str, mapping: Mapping[str, str]) -> str:
    """The name in the teacher: of the innermost module that is matched, or the same."""
    for prefix in sorted(mapping, key=len, reverse=True):
        if name.startswith(f"{prefix}."):
            return mapping[prefix] + name[len(prefix) :]
    return name
