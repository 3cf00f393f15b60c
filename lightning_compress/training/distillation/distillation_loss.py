"""The loss of a student against its teacher: of outputs, hidden states and attention maps together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.training.distillation.layers import LayerChoice, match_layers
from lightning_compress.training.distillation.losses import (
    attention_map_loss,
    attention_transfer_loss,
    hidden_state_loss,
    normalized_state_loss,
    soft_target_loss,
)
from lightning_compress.training.distillation.outputs import Outputs, module_named, output_tensor
from lightning_compress.training.distillation.projections import Projections

Part = Literal["scores", "hidden", "attention"]
HiddenLoss = Literal["error", "normalized"]
AttentionLoss = Literal["maps", "transfer"]

_HIDDEN: dict[HiddenLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "error": hidden_state_loss,
    "normalized": normalized_state_loss,
}
_ATTENTION: dict[AttentionLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "maps": attention_map_loss,
    "transfer": attention_transfer_loss,
}


@dataclass(frozen=True)
class Objectives:
    """What a student learns of its teacher.

    Attributes:
        temperature: of the soft targets, see :func:`soft_target_loss`.
        hidden: name of a module inside the student → name of one inside the teacher, whose outputs are drawn together,
            through a learned projection where their widths differ; or a choice of layers, see :func:`match_layers`.
        attention: the same of attentions, whose maps are drawn together; or of convolutions, with ``transfer``.
        hidden_loss: ``error`` (:func:`hidden_state_loss`) or ``normalized`` (:func:`normalized_state_loss`).
        attention_loss: ``maps`` (:func:`attention_map_loss`) or ``transfer`` (:func:`attention_transfer_loss`).
        weights: of the parts of the loss, ``scores``, ``hidden`` and ``attention``, 1 each where not given. Scores of
            weight 0 are not compared, and may have other sizes than the teacher's.
        learning_rate: of the projections.
        shared_projection: one projection for all hidden states of the same widths.

    Raises:
        TrainingError: a value is out of range, or a name is not known.
    """

    temperature: float = 1.0
    hidden: Mapping[str, str] | LayerChoice = field(default_factory=dict)
    attention: Mapping[str, str] = field(default_factory=dict)
    hidden_loss: HiddenLoss = "error"
    attention_loss: AttentionLoss = "maps"
    weights: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 1e-3
    shared_projection: bool = False

    def __post_init__(self) -> None:
        chosen: list[tuple[str, str, tuple[str, ...]]] = [
            ("hidden_loss", self.hidden_loss, get_args(HiddenLoss)),
            ("attention_loss", self.attention_loss, get_args(AttentionLoss)),
            *(("a name in weights", part, get_args(Part)) for part in self.weights),
        ]
        if isinstance(self.hidden, str):
            chosen.append(("hidden", self.hidden, get_args(LayerChoice)))
        for name, value, choices in chosen:
            if value not in choices:
                raise TrainingError(f"{name} is {value!r}, expected {' or '.join(map(repr, choices))}")
        for part, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise TrainingError(f"weights[{part!r}] is {weight!r}, expected a finite number from 0")
        if not (self.weight("scores") or self.hidden or self.attention):
            raise TrainingError("weights leave nothing to learn: give hidden or attention, or scores a weight above 0")

    def weight(self, part: Part) -> float:
        """The weight of a part of the loss."""
        return self.weights.get(part, 1.0)


class DistillationLoss:
    """Listens to student and teacher, and computes the loss between them.

    Args:
        student: the module that learns.
        teacher: takes the same inputs. It computes without gradients, and is as it was after :meth:`remove`.
        objectives: what is learned.

    Raises:
        TrainingError: a module has no such name, or layers cannot be matched.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, objectives: Objectives) -> None:
        self.teacher, self.objectives = teacher, objectives
        self.projections = Projections(objectives.learning_rate, is_shared=objectives.shared_projection)
        chosen = objectives.hidden
        self.hidden = match_layers(student, teacher, chosen) if isinstance(chosen, str) else dict(chosen)
        self._listeners: list[tuple[Part, dict[str, str], Outputs, Outputs]] = []
        if self.hidden:
            self._listen(student, "hidden", self.hidden)
        if objectives.attention:
            self._listen(student, "attention", dict(objectives.attention))
        # Such an encoder gives its layers sequences of several lengths, which are no tensors like the student's.
        self._nested = [
            each for each in teacher.modules() if isinstance(each, nn.TransformerEncoder) and each.use_nested_tensor
        ]
        for encoder in self._nested:
            encoder.use_nested_tensor = False

    def _listen(self, student: nn.Module, part: Part, pairs: dict[str, str]) -> None:
        ours = {name: module_named(student, name) for name in pairs}
        theirs = {other: module_named(self.teacher, other) for other in pairs.values()}
        _check_different("student", ours)
        _check_different("teacher", theirs)
        maps = part == "attention"
        both = Outputs(ours, torch.is_grad_enabled, maps=maps), Outputs(theirs, maps=maps)
        self._listeners.append((part, pairs, *both))

    def loss(
        self, output: object, args: tuple[object, ...], kwargs: Mapping[str, object], mask: Tensor | None = None
    ) -> Tensor:
        """The loss of the student's last forward pass; the teacher computes with the same inputs.

        Args:
            output: of the student.
            args: inputs of student and teacher.
            kwargs: likewise.
            mask: ``[…]``, bool, the positions of the scores that count; None for all.

        Raises:
            TrainingError: outputs do not fit each other, or a module that was named was not called.
        """
        with torch.no_grad():
            reference = self.teacher(*args, **kwargs)
        losses = [self._compare(*each) for each in self._listeners]
        weight = self.objectives.weight("scores")
        if weight:
            scores = output_tensor(output).float(), output_tensor(reference).float()
            losses.append(weight * soft_target_loss(*scores, self.objectives.temperature, mask))
        return torch.stack(losses).sum()

    def _compare(self, part: Part, pairs: Mapping[str, str], student: Outputs, teacher: Outputs) -> Tensor:
        ours, theirs = student.take(), teacher.take()
        _check_called("student", pairs, ours)
        _check_called("teacher", pairs.values(), theirs)
        losses = []
        for name, other in pairs.items():
            first, second = ours[name].float(), theirs[other].float()
            try:
                if part == "attention":
                    losses.append(_ATTENTION[self.objectives.attention_loss](first, second))
                else:
                    first = self.projections.project(name, first, second.shape[-1])
                    losses.append(_HIDDEN[self.objectives.hidden_loss](first, second))
            except TrainingError as error:
                raise TrainingError(f"{name!r} and the teacher's {other!r}: {error}") from error
        return self.objectives.weight(part) * torch.stack(losses).sum()

    def remove(self) -> None:
        """Leave both modules without hooks."""
        for _, _, *both in self._listeners:
            for each in both:
                each.remove()
        for encoder in self._nested:
            encoder.use_nested_tensor = True


def _check_different(whose: str, modules: Mapping[str, nn.Module]) -> None:
    names: dict[int, str] = {}
    for name, each in modules.items():
        first = names.setdefault(id(each), name)
        if first != name:
            raise TrainingError(
                f"{first!r} and {name!r} of the {whose} are one module, called several times, of which the last output "
                "counts: match one of them alone"
            )


def _check_called(whose: str, names: Iterable[str], found: Mapping[str, Tensor]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise TrainingError(
            f"{', '.join(map(repr, missing))} of the {whose} gave nothing in its forward pass: it is not called as a "
            "module; name one that is, such as its parent or a part of it"
        )
