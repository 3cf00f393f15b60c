"""``Distill``: a loss that draws the outputs, hidden states and attention maps of a module to those of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_compress.archive import is_archive
from lightning_compress.callbacks.arguments import check_flag, check_function, check_number, checked
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.compression import read_weights
from lightning_compress.errors import CallbackError
from lightning_compress.loading import load
from lightning_compress.training import (
    AttentionLoss,
    DistillationLoss,
    HiddenLoss,
    LayerChoice,
    Objectives,
    module_named,
)

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


_EXAMPLES = {
    "hidden": "{'layers.0': 'layers.1'}, or a choice of layers such as 'every'",
    "attention": "{'layers.0.self_attn': 'layers.1.self_attn'}",
    "weights": "{'scores': 1.0, 'hidden': 0.5}",
}


class Distill(_Callback):
    """Train with the outputs of a teacher beside the loss.

    Whenever the student's module computes in a training step, the teacher computes with the same inputs, without
    gradients and in evaluation mode. The loss becomes (1 − share) · loss + share · (soft targets + hidden states +
    attention maps). No step of the training module changes. By default the teacher is the module itself with the exact
    weights that it has when the training starts: for training with quantized or pruned weights.

    Args:
        module: name of the submodule whose output are scores ``[…, classes]``, such as ``"network"``; empty for the
            whole module, whose ``forward`` the training step must call.
        teacher: None, the module's own exact weights at the start; the path of a checkpoint or of a compressed file
            with the same names and shapes; or a module that takes the same inputs.
        share: of the distillation in the loss, 0 to 1. With 1 the loss of the training step counts for nothing, so data
            need no labels, and the step may return ``torch.zeros(())``.
        temperature: of the soft targets, see :func:`~lightning_compress.training.soft_target_loss`.
        hidden: name of a module inside the student's → name of one inside the teacher's: their outputs are drawn
            together. Where they differ in width, the student's pass through a learned projection, which is in the
            checkpoint and in no file. Or a choice of layers, such as ``"every"``, see
            :func:`~lightning_compress.training.match_layers`.
        attention: name of an attention inside the student's → name of one inside the teacher's: their maps are drawn
            together, see :func:`~lightning_compress.training.attention_map`.
        hidden_loss: ``"error"``, the squared error, or ``"normalized"``, that of states of length 1 (patient
            distillation).
        attention_loss: ``"maps"``, the squared error of each head, or ``"transfer"``, for other numbers of heads and
            for convolutions.
        weights: of ``"scores"``, ``"hidden"`` and ``"attention"``, 1 each where not given.
        learning_rate: of the projections, which Adam trains.
        shared_projection: one projection for all hidden states of the same widths.
        mask: batch → ``[…]``, bool, the positions of the scores that count, such as those that are no padding.

    Raises:
        CallbackError: an argument is wrong; when a run starts, a module has no such name, layers cannot be matched, or
            the weights of the teacher do not fit.
        TrainingError: outputs of student and teacher do not fit each other.
    """

    def __init__(
        self,
        module: str = "",
        *,
        teacher: nn.Module | str | PathLike[str] | None = None,
        share: float = 0.7,
        temperature: float = 1.0,
        hidden: Mapping[str, str] | LayerChoice | None = None,
        attention: Mapping[str, str] | None = None,
        hidden_loss: HiddenLoss = "error",
        attention_loss: AttentionLoss = "maps",
        weights: Mapping[str, float] | None = None,
        learning_rate: float = 1e-3,
        shared_projection: bool = False,
        mask: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_number("share", share)
        check_number("temperature", temperature)
        check_number("learning_rate", learning_rate)
        check_flag("shared_projection", shared_projection)
        check_function("mask", mask, "batch → bool tensor")
        if share > 1 or not temperature:
            raise CallbackError(
                f"share is {share} and temperature {temperature}, expected 0 to 1, and a temperature above 0"
            )
        if not isinstance(teacher, (nn.Module, str, PathLike, type(None))):
            raise CallbackError(f"teacher is {type(teacher).__name__}, expected a module, a path or None")
        names = {"hidden": hidden, "attention": attention, "weights": weights}
        _check_mappings(names)
        options = {"hidden_loss": hidden_loss, "attention_loss": attention_loss, "learning_rate": learning_rate}
        options |= {"shared_projection": shared_projection, "temperature": temperature}
        self.objectives = checked(lambda known: Objectives(**known), {n: v for n, v in names.items() if v} | options)
        self.module, self.share, self.mask = module, share, mask
        self._given = teacher
        self._teacher: nn.Module | None = None
        self._saved: dict[str, Any] = {}  # of a checkpoint
        self._loss: DistillationLoss | None = None
        self._scale = 1.0  # of the gradients
        self._handle: Any = None
        self._losses: list[Tensor] = []
        self._batch: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Make the teacher, and listen to the student."""
        student = checked(lambda name: module_named(pl_module, name), self.module)
        device = next(pl_module.parameters()).device
        self._teacher = self._make_teacher(student).to(device).eval().requires_grad_(False)
        teacher = self._teacher
        self._loss = checked(lambda objectives: DistillationLoss(student, teacher, objectives), self.objectives)
        self._loss.projections.load_state_dict(self._saved.get("projections", {}), device)
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
        self._scale = 1.0 if scaler is None else float(scaler.get_scale())
        if self.share == 1 and not loss._is_view():  # torch detaches no view in place
            loss.detach_().zero_()  # so that a loss without labels, NaN or without a gradient, does no harm
        with torch.enable_grad():
            share = self.share * self._scale / trainer.accumulate_grad_batches
            loss.mul_(1 - self.share).add_(extra.to(loss.dtype), alpha=share)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Train the projections."""
        if self._loss is not None:
            self._loss.projections.step(self._scale)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the module without hooks."""
        for part in (self._handle, self._loss):
            if part is not None:
                part.remove()
        self._handle = self._loss = self._teacher = None
        self._saved = {}

    def state_dict(self) -> dict[str, Any]:
        """The projections, and the weights of a teacher that is the module itself, which no file holds otherwise."""
        state: dict[str, Any] = {}
        if self._loss is not None:
            projections = self._loss.projections.state_dict()
            state |= {"projections": projections} if projections else {}
        if self._given is None and self._teacher is not None:
            state["teacher"] = {name: tensor.cpu() for name, tensor in self._teacher.state_dict().items()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the same teacher and projections."""
        self._saved = state_dict

    def _make_teacher(self, student: nn.Module) -> nn.Module:
        if isinstance(self._given, nn.Module):
            return self._given
        teacher = deepcopy(student)
        if self._given is not None:
            checked(lambda path: _load(teacher, path, self.module), fspath(self._given))
        elif "teacher" in self._saved:
            teacher.load_state_dict(self._saved["teacher"])
        return teacher

    def _after_forward(
        self, student: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object], output: object
    ) -> None:
        if self._batch is None or not torch.is_grad_enabled():
            return
        assert self._loss is not None
        mask = None if self.mask is None else self.mask(self._batch)
        self._losses.append(self._loss.loss(output, args, kwargs, mask))


def _check_mappings(values: Mapping[str, object]) -> None:
    for name, value in values.items():
        is_choice = name == "hidden" and isinstance(value, str)
        kinds: type | tuple[type, ...] = (int, float) if name == "weights" else str
        if value is None or is_choice:
            continue
        fits = isinstance(value, Mapping) and all(
            isinstance(key, str) and isinstance(each, kinds) and not isinstance(each, bool)
            for key, each in value.items()
        )
        if not fits:
            raise CallbackError(f"{name} is {value!r:.80}, expected a mapping such as {_EXAMPLES[name]}")


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
