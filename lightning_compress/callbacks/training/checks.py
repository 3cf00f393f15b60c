"""What a training must be for callbacks that replace its weights while it runs."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.errors import CallbackError
from lightning_compress.plan import Plan
from lightning_compress.training import LatentWeights

_log = logging.getLogger(__name__)


def check_not_sharded(trainer: Trainer, what: str, instead: str) -> None:
    """Raise a CallbackError if each process holds a part of each tensor only.

    Args:
        trainer: of the training.
        what: the callback does with whole tensors, such as ``"PruneDuringTraining ranks"``.
        instead: what to do.
    """
    if is_sharded(trainer):
        raise CallbackError(f"{what} whole tensors, and the module is sharded here: {instead}")


def check_order(trainer: Trainer, module: nn.Module, callback: object) -> None:
    """Raise a CallbackError where a callback that changes weights after a step would get quantized ones.

    With manual optimization, weights are quantized again after each step, by a hook in the order of the callbacks.
    """
    names = [type(each).__name__ for each in callbacks_of(trainer)]
    own = type(callback).__name__
    if module.automatic_optimization or "QuantizeDuringTraining" not in names or own not in names:
        return
    if names.index("QuantizeDuringTraining") < names.index(own):
        raise CallbackError(
            f"with manual optimization {own} must act before QuantizeDuringTraining quantizes the weights again: list "
            f"{own} before it"
        )


def check_optimizers(trainer: Trainer) -> None:
    """Raise a CallbackError for an optimizer that evaluates the loss after it has changed the weights."""
    for optimizer in trainer.optimizers:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise CallbackError(
                "LBFGS evaluates the loss several times in a step, and QuantizeDuringTraining quantizes once: take "
                "another optimizer, such as AdamW"
            )


@runtime_checkable
class Exporting(Protocol):
    """A callback that writes compressed files.

    Attributes:
        is_trained: whether it takes the plan of the training.
        background: None if it writes them in the process of the training.
    """

    is_trained: bool
    background: str | None

    @property
    def plan(self) -> Plan | None:
        """How; None if that is not known yet."""
        ...


def check_exports(trainer: Trainer, latent: LatentWeights) -> None:
    """Log a warning if the trainer's files are made by another plan than the one that is trained with.

    Raises:
        CallbackError: steps are learned, and a worker process exports, which knows them as they are at its start.
    """
    is_learning, plan = latent.steps is not None, latent.guided.plan
    for callback in callbacks_of(trainer):
        if not isinstance(callback, Exporting):
            continue
        if is_learning and callback.background:
            raise CallbackError(
                "learn_steps changes the steps of the plan, and CompressCheckpoint(background=…) exports by those of "
                "its start: leave background out, or learn_steps"
            )
        if callback.plan not in (plan, None) or (is_learning and callback.plan and not callback.is_trained):
            _log.warning(
                "CompressCheckpoint has another plan than QuantizeDuringTraining: its files will not hold the "
                "weights that were trained. Write CompressCheckpoint('trained'), or give both the same plan."
            )
