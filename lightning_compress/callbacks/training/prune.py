"""``PruneDuringTraining``: weights that are set to 0 while the others train on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.arguments import check_choice, check_texts, check_whole_number, checked
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.training.checks import check_not_sharded, check_order
from lightning_compress.errors import CallbackError
from lightning_compress.logging import log_scalars, logging_step
from lightning_compress.training import Criterion, Granularity, Grouping, Masks, Schedule, Shape
from lightning_compress.weights import Weights

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


class PruneDuringTraining(_Callback):
    """Prune weights by a schedule, and train those that are left.

    Pruned weights are 0 after every optimizer step, whatever the optimizer, and in averages that are validated or
    saved. Any plan stores the zeros at little cost; whole rows, columns, blocks and structures cost nearly nothing.

    Args:
        amount: the share that is pruned in the end, 0 to 1.
        start: when pruning begins, a step or an epoch from 0.
        end: when the share is final.
        every: steps or epochs between two changes of the share.
        unit: whether these are optimizer ``"step"`` or ``"epoch"``.
        schedule: ``"cubic"``, ``"linear"`` or ``"one-shot"``; see :class:`~lightning_compress.training.Schedule`.
        criterion: ``"magnitude"``, ``"l1"``, ``"taylor"``, ``"movement"`` or ``"fisher"``; see
            :func:`~lightning_compress.training.pruning.criteria.importance_of`.
        granularity: ``"weight"``, ``"row"``, ``"column"`` or ``"block"`` of a tensor; or ``"head"``, ``"neuron"``,
            ``"channel"`` or ``"layer"`` (:func:`~lightning_compress.training.structures_of` finds them), which
            :func:`~lightning_compress.training.shrink` removes after the training.
        block: rows and columns of a block.
        tensors: patterns of the tensors that are pruned, all matrices by default; or of the names of structures, such
            as ``["decoder.*"]``.
        scope: ``"model"`` ranks all tensors or structures together, ``"tensor"`` takes the same share of each.

    Raises:
        CallbackError: an argument is wrong, such as a schedule that ends before it starts; when a run starts, a tensor
            cannot have the granularity, nothing has such structures, the module is sharded, or the checkpoint was
            trained with other arguments.
    """

    def __init__(
        self,
        amount: float,
        *,
        start: int = 0,
        end: int | None = None,
        every: int = 100,
        unit: str = "step",
        schedule: Shape = "cubic",
        criterion: Criterion = "magnitude",
        granularity: Granularity = "weight",
        block: tuple[int, int] = (4, 4),
        tensors: Sequence[str] | None = None,
        scope: str = "model",
    ) -> None:
        super().__init__()
        check_whole_number("start", start, 0)
        check_whole_number("end", end, 0, optional=True)
        check_whole_number("every", every, 1)
        check_choice("unit", unit, ("step", "epoch"))
        check_choice("scope", scope, ("model", "tensor"))
        check_choice("criterion", criterion, get_args(Criterion))
        if tensors is not None:
            check_texts("tensors", tensors, "patterns of tensor names such as ['*weight*']")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise CallbackError(f"amount is {amount!r}, expected a share from 0 to 1")
        self.schedule = checked(lambda share: Schedule(share, start, end, every, schedule), amount)
        self.grouping = checked(lambda size: Grouping(granularity, tuple(size)), block)
        self.unit, self.criterion, self.scope, self.tensors = unit, criterion, scope, tensors
        self._masks: Masks | None = None
        self._saved: dict[str, Any] | None = None
        self._hooks: list[Any] = []
        self._last = -1  # the moment of the batch before

    @property
    def share(self) -> float:
        """The share of the weights, rows, heads or other groups that is pruned now."""
        return self._masks.share if self._masks else 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Take the weights of the module, which is on its device now."""
        check_not_sharded(trainer, "PruneDuringTraining ranks", "train with ddp")
        check_order(trainer, pl_module, self)
        weights = Weights.from_module(pl_module)

        def masks(_: object) -> Masks:
            made = Masks(
                pl_module,
                weights,
                self.tensors,
                criterion=self.criterion,
                grouping=self.grouping,
                is_global=self.scope == "model",
            )
            if self._saved is not None:
                made.load_state_dict(self._saved)
            return made

        self._masks = checked(masks, None)

    def on_train_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Keep the masks after every step of an optimizer."""
        masks = self._known
        masks.apply()
        self._hooks = [each.register_step_post_hook(lambda *_: masks.apply()) for each in trainer.optimizers]

    def on_train_batch_start(self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int) -> None:
        """Prune, if the schedule says so."""
        moment = int(trainer.global_step if self.unit == "step" else trainer.current_epoch)
        if self.schedule.share(moment) > self.schedule.share(self._last):
            self._known.update(self.schedule, moment)
            if trainer.is_global_zero:
                values = {"training/pruned": self.share}
                step, epoch = logging_step(trainer), trainer.current_epoch
                log_scalars(trainer.loggers, values, step, "the share of pruned weights", epoch=epoch)
        self._last = moment

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the gradients to the scores."""
        self._known.observe()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Prune what is validated, which may be an average of weights."""
        if self._masks is not None:
            self._masks.apply()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Prune what is saved, which may be an average of weights."""
        state: dict[str, Tensor] = checkpoint.get("state_dict", {})
        if self._masks is not None:
            self._masks.apply(state)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the optimizers without hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._saved = [], None

    def state_dict(self) -> dict[str, Any]:
        """Masks, scores, and the arguments that they belong to."""
        if self._masks is None:
            return {}
        return {**self._masks.state_dict(), "arguments": self._arguments(), "last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue; the arguments must be those of the checkpoint."""
        if state_dict and state_dict["arguments"] != self._arguments():
            raise CallbackError(
                f"the checkpoint was trained with {state_dict['arguments']}, and this run has {self._arguments()}: "
                "resume with those arguments, or start a new training from the weights alone"
            )
        self._saved = state_dict or None
        self._last = state_dict.get("last", -1)

    @property
    def _known(self) -> Masks:
        assert self._masks is not None
        return self._masks

    def _arguments(self) -> str:
        values = {**vars(self.schedule), **vars(self.grouping), "unit": self.unit, "criterion": self.criterion}
        return json.dumps(values | {"scope": self.scope}, sort_keys=True)
