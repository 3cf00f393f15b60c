"""Losses of distillation: a student learns the outputs and the hidden states of a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_compress.errors import TrainingError


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """T² · KL(teacher ‖ student) of the distributions at temperature T, the mean over positions, in nats.

    G. Hinton, O. Vinyals and J. Dean 2015, "Distilling the Knowledge in a Neural Network", section 2: T² keeps the
    gradient as large as that of a loss on hard targets.

    Args:
        student: ``[…, classes]`` scores.
        teacher: of the same shape.
        temperature: T, positive.
        mask: ``[…]``, bool: the positions that count, such as those that are no padding; None for all.

    Raises:
        TrainingError: the shapes differ.
    """
    _check_shapes("scores", student, teacher)
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    rows, columns = -1, student.shape[-1]
    first, second = ((part / temperature).log_softmax(-1).reshape(rows, columns) for part in (student, teacher))
    return temperature**2 * F.kl_div(first, second, log_target=True, reduction="batchmean")


def hidden_state_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of two hidden states, over the mean square of the teacher's.

    A. Romero et al. 2015, "FitNets", section 2.2; X. Jiao et al. 2020, "TinyBERT", section 3.1.

    Raises:
        TrainingError: the shapes differ.
    """
    _check_shapes("hidden states", student, teacher)
    return (student - teacher).square().mean() / teacher.square().mean().clamp_min(1e-12)


def output_tensor(output: object) -> Tensor:
    """The tensor of a module's output: itself, its ``logits``, or the first of several.

    Raises:
        TrainingError: there is none.
    """
    found = getattr(output, "logits", output)
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise TrainingError(f"a module gives {type(output).__name__}, expected a tensor, a tuple of them, or .logits")
    return found


class Outputs:
    """Collects what modules give in their forward passes.

    Args:
        modules: name → module.
        when: whether a forward pass counts.
    """

    def __init__(self, modules: dict[str, nn.Module], when: Callable[[], bool] = lambda: True) -> None:
        self._found: dict[str, Tensor] = {}
        self._when = when
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in modules.items()]

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def collect(_: nn.Module, __: object, output: object) -> None:
            if self._when():
                self._found[name] = output_tensor(output)

        return collect

    def take(self) -> dict[str, Tensor]:
        """Name → the newest output of the module; then there is none."""
        found, self._found = self._found, {}
        return found

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()


def _check_shapes(what: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise TrainingError(
            f"the {what} of the student are {list(student.shape)} and those of the teacher {list(teacher.shape)}: "
            "match modules of equal width and length"
        )
