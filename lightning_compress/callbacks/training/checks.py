"""What a training must be for callbacks that replace its weights while it runs."""

from __future__ import annotations

import logging

import torch
from torch import nn

from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.errors import CallbackError
from lightning_compress.plan import Plan

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


def warn_of_other_plans(trainer: Trainer, plan: Plan) -> None:
    """Log a warning if the trainer's files are made by another plan than the one that is trained with."""
    for callback in callbacks_of(trainer):
        other = getattr(callback, "plan", plan)
        if type(callback).__name__ == "CompressCheckpoint" and other not in (plan, None):
            _log.warning(
                "CompressCheckpoint has another plan than QuantizeDuringTraining: its files will not hold the "
                "weights that were trained. Write CompressCheckpoint('trained'), or give both the same plan."
            )
