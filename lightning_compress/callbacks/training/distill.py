"""``Distill``: a loss that draws the outputs of a module to those of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_compress.archive import is_archive
from lightning_compress.callbacks.arguments import check_function, check_number, checked
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.compression import read_weights
from lightning_compress.errors import CallbackError, did_you_mean
from lightning_compress.loading import load
from lightning_compress.training import Outputs, hidden_state_loss, output_tensor, soft_target_loss

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


class Distill(_Callback):
    """Train with the outputs of a teacher beside the loss.

    Whenever the student's module computes in a training step, the teacher computes with the same inputs, without
    gradients and in evaluation mode. The loss becomes (1 − share) · loss + share · (soft targets + hidden states). No
    step of the training module changes. By default the teacher is the module itself with the exact weights that it has
    when the training starts: for training with quantized or pruned weights.

    Args:
        module: name of the submodule whose output are scores ``[…, classes]``, such as ``"network"``; empty for the
            whole module, whose ``forward`` the training step must call.
        teacher: None, the module's own exact weights at the start; the path of a checkpoint or of a compressed file
            with the same names and shapes; or a module that takes the same inputs.
        share: of the distillation in the loss, 0 to 1.
        temperature: of the soft targets, see :func:`~lightning_compress.training.soft_target_loss`.
        hidden: name of a module inside the student's → name of one inside the teacher's: their outputs are drawn
            together.
        mask: batch → ``[…]``, bool, the positions of the scores that count, such as those that are no padding.

    Raises:
        CallbackError: an argument is wrong; when a run starts, a module has no such name,
            or the weights of the teacher do not fit.
        TrainingError: outputs of student and teacher differ in shape.
    """

    def __init__(
        self,
        module: str = "",
        *,
        teacher: nn.Module | str | PathLike[str] | None = None,
        share: float = 0.7,
        temperature: float = 1.0,
        hidden: Mapping[str, str] | None = None,
        mask: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_number("share", share)
        check_number("temperature", temperature)
        check_function("mask", mask, "batch → bool tensor")
        if share > 1 or not temperature:
            raise CallbackError(
                f"share is {share} and temperature {temperature}, expected 0 to 1, and a temperature above 0"
            )
        if not isinstance(teacher, (nn.Module, str, PathLike, type(None))):
            raise CallbackError(f"teacher is {type(teacher).__name__}, expected a module, a path or None")
        self.module, self.share, self.temperature = module, share, temperature
        self.hidden, self.mask = dict(hidden or {}), mask
        self._given = teacher
        self._teacher: nn.Module | None = None
        self._saved: dict[str, Tensor] | None = None  # weights of the teacher in a checkpoint
        self._collected: tuple[Outputs, Outputs] | None = None
        self._handle: Any = None
        self._losses: list[Tensor] = []
        self._batch: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Make the teacher, and listen to the student."""
        student = _inside(pl_module, self.module)
        self._teacher = self._make_teacher(student).to(next(pl_module.parameters()).device).eval().requires_grad_(False)
        if self.hidden:
            pairs = self.hidden.items()
            self._collected = (
                Outputs({name: _inside(student, name) for name, _ in pairs}, torch.is_grad_enabled),
                Outputs({name: _inside(self._teacher, other) for name, other in pairs}),
            )
        self._handle = student.register_forward_hook(self._after_forward, with_kwargs=True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int) -> None:
        """Keep the batch for the mask."""
        self._batch, self._losses = batch, []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Forget the batch: forward passes until the next one are none of the training."""
        self._batch = None

    def on_before_backward(self, trainer: Trainer, pl_module: nn.Module, loss: Tensor) -> None:
        """Mix the losses, at the scale of the loss that is given."""
        if not self._losses:
            raise CallbackError(
                f"the training step does not call {self.module or 'the forward of its module'}: give Distill the name "
                "of the submodule that it calls, such as Distill('network')"
            )
        extra, self._losses = torch.stack(self._losses).mean(), []
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = (1.0 if scaler is None else scaler.get_scale()) / trainer.accumulate_grad_batches
        with torch.enable_grad():
            loss.mul_(1 - self.share).add_(extra.to(loss.dtype), alpha=self.share * scale)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the module without hooks."""
        for part in (self._handle, *(self._collected or ())):
            if part is not None:
                part.remove()
        self._handle = self._collected = self._teacher = None

    def state_dict(self) -> dict[str, Any]:
        """The weights of a teacher that is the module itself, which no file holds otherwise."""
        if self._given is not None or self._teacher is None:
            return {}
        return {"teacher": {name: tensor.cpu() for name, tensor in self._teacher.state_dict().items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the same teacher."""
        self._saved = state_dict.get("teacher")

    def _make_teacher(self, student: nn.Module) -> nn.Module:
        if isinstance(self._given, nn.Module):
            return self._given
        teacher = deepcopy(student)
        if self._given is not None:
            checked(lambda path: _load(teacher, path, self.module), fspath(self._given))
        elif self._saved is not None:
            teacher.load_state_dict(self._saved)
        return teacher

    def _after_forward(
        self, student: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object], output: object
    ) -> None:
        if self._batch is None or not torch.is_grad_enabled():
            return
        assert self._teacher is not None
        with torch.no_grad():
            reference = output_tensor(self._teacher(*args, **kwargs))
        mask = None if self.mask is None else self.mask(self._batch)
        loss = soft_target_loss(output_tensor(output).float(), reference.float(), self.temperature, mask)
        if self._collected is not None:
            ours, theirs = (part.take() for part in self._collected)
            loss = loss + sum(hidden_state_loss(ours[name].float(), theirs[name].float()) for name in ours)
        self._losses.append(loss)


def _inside(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        known = [other for other, _ in module.named_modules() if other]
        raise CallbackError(
            f"{type(module).__name__} has no module {name!r}{did_you_mean(name, known)}; it has {', '.join(known[:8])}"
        ) from error


def _load(teacher: nn.Module, path: str, prefix: str) -> None:
    """Load those weights of a checkpoint or a compressed file that are under the name of the module."""
    state = load(path) if is_archive(path) else read_weights(path).state_dict()
    start = f"{prefix}." if prefix else ""
    own = {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
    try:
        teacher.load_state_dict(own)
    except RuntimeError as error:
        raise CallbackError(
            f"the weights in {path} do not fit the module {prefix!r}: {error}; give a module as teacher"
        ) from error
