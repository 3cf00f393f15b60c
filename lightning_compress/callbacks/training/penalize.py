"""``ProximalPenalty``: weights that a penalty draws to 0 while a module trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.arguments import check_number, check_texts, check_whole_number, checked
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.training.checks import check_not_sharded, check_order
from lightning_compress.errors import CallbackError
from lightning_compress.logging import log_scalars, logging_step
from lightning_compress.training import (
    Granularity,
    Grouping,
    Masks,
    Penalty,
    ProximalSteps,
    check_penalty,
    learning_rates,
)
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


class ProximalPenalty(_Callback):
    """Penalize weights by a proximal step after each step of the optimizer, and hold the zeros in the end.

    A step draws weights towards 0 by learning rate · strength; see :class:`~lightning_compress.training.ProximalSteps`.
    From ``end`` on the penalty is gone, what is 0 stays 0, and the other weights are trained on: the two phases of
    reweighted proximal pruning (Guo et al. 2019).

    Args:
        penalty: ``"l1"``, ``"l2"``, ``"group-lasso"`` or ``"reweighted-l1"``.
        strength: of the penalty, in units of the loss for each unit of the weights, such as 1e-4.
        start: the optimizer step from which weights are penalized.
        end: the optimizer step from which zeros are held, and nothing is penalized; None for a penalty to the end.
        granularity: of ``"group-lasso"``: ``"row"``, ``"column"``, ``"block"``, ``"head"``, ``"neuron"``, ``"channel"``
            or ``"layer"``.
        block: rows and columns of a block.
        scale: of ``"reweighted-l1"``: the size of weights beyond which the penalty becomes weak.
        reweight_every: of ``"reweighted-l1"``: optimizer steps after which weights are compared with ``scale`` again.
        tensors: patterns of the tensors that are penalized, all matrices by default; or of the names of structures.

    Raises:
        CallbackError: an argument is wrong; when a run starts, a tensor cannot have the granularity, the module is
            sharded, or the checkpoint was trained with other arguments.
    """

    def __init__(
        self,
        penalty: Penalty,
        strength: float,
        *,
        start: int = 0,
        end: int | None = None,
        granularity: Granularity = "weight",
        block: tuple[int, int] = (4, 4),
        scale: float = 1e-2,
        reweight_every: int = 100,
        tensors: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_whole_number("start", start, 0)
        check_whole_number("end", end, 0, optional=True)
        check_whole_number("reweight_every", reweight_every, 1)
        check_number("strength", strength)
        check_number("scale", scale)
        if end is not None and end <= start:
            raise CallbackError(f"the penalty starts at {start} and ends at {end}: give an end after the start")
        if tensors is not None:
            check_texts("tensors", tensors, "patterns of tensor names such as ['*weight*']")
        self.grouping = checked(lambda size: Grouping(granularity, tuple(size)), block)
        checked(lambda name: check_penalty(name, strength, self.grouping, scale, reweight_every), penalty)
        self.penalty, self.strength, self.start, self.end = penalty, strength, start, end
        self.scale, self.reweight_every, self.tensors = scale, reweight_every, tensors
        self._steps: ProximalSteps | None = None
        self._masks: Masks | None = None
        self._is_held = False
        self._saved: dict[str, Any] = {}
        self._hooks: list[Any] = []

    @property
    def share(self) -> float:
        """The share of the penalized weights that is 0 now."""
        return self._steps.share if self._steps else 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Take the weights of the module, which is on its device now."""
        check_not_sharded(trainer, "ProximalPenalty changes", "train with ddp")
        check_order(trainer, pl_module, self)
        weights = Weights.from_module(pl_module)

        def steps(_: object) -> ProximalSteps:
            return ProximalSteps(
                pl_module,
                weights,
                self.tensors,
                penalty=self.penalty,
                strength=self.strength,
                grouping=self.grouping,
                scale=self.scale,
                reweight_every=self.reweight_every,
            )

        self._steps = checked(steps, None)
        self._masks = Masks(pl_module, weights, self.tensors, grouping=self.grouping)
        self._is_held = bool(self._saved.get("is_held", False))
        if self._saved:
            self._steps.load_state_dict(self._saved["steps"])
            self._masks.load_state_dict(self._saved["masks"])

    def on_train_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Follow every step of an optimizer by a proximal step."""

        def after_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
            self._after_step(optimizer, int(trainer.global_step))

        for optimizer in trainer.optimizers:
            checked(learning_rates, optimizer)
        self._hooks = [each.register_step_post_hook(after_step) for each in trainer.optimizers]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Log the share of the zeros."""
        if trainer.is_global_zero:
            step, epoch = logging_step(trainer), trainer.current_epoch
            values = {"training/zeros": self.share}
            log_scalars(trainer.loggers, values, step, "the share of weights that are 0", epoch=epoch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Hold the zeros of what is validated, which may be an average of weights."""
        if self._masks is not None and self._is_held:
            self._masks.apply()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Hold the zeros of what is saved, which may be an average of weights."""
        state: dict[str, Tensor] = checkpoint.get("state_dict", {})
        if self._masks is not None and self._is_held:
            self._masks.apply(state)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the optimizers without hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._saved = [], {}

    def state_dict(self) -> dict[str, Any]:
        """Former values, the zeros that are held, and the arguments that they belong to."""
        if self._steps is None or self._masks is None:
            return {}
        parts = {"steps": self._steps.state_dict(), "masks": self._masks.state_dict(), "is_held": self._is_held}
        return {**parts, "arguments": self._arguments()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue; the arguments must be those of the checkpoint."""
        if state_dict and state_dict["arguments"] != self._arguments():
            raise CallbackError(
                f"the checkpoint was trained with {state_dict['arguments']}, and this run has {self._arguments()}: "
                "resume with those arguments, or start a new training from the weights alone"
            )
        self._saved = state_dict

    def _after_step(self, optimizer: torch.optim.Optimizer, moment: int) -> None:
        assert self._steps is not None
        assert self._masks is not None
        if self._is_held:
            self._masks.apply()
            return
        if moment >= self.start:
            self._steps.step(learning_rates(optimizer), moment)
        if self.end is not None and moment + 1 >= self.end:  # before the next step moves what is 0
            self._masks.hold_zeros()
            self._is_held = True

    def _arguments(self) -> str:
        names = ("penalty", "strength", "start", "end", "scale", "reweight_every")
        values = {name: getattr(self, name) for name in names}
        return json.dumps(values | vars(self.grouping), sort_keys=True)
