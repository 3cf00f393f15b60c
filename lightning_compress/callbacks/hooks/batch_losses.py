"""The loss on a trainer's validation batches, one forward pass each, with gradients if they are enabled."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.arguments import check_calibration, check_whole_number
from lightning_compress.callbacks.hooks.lightning_types import Batch, LightningModule, Trainer
from lightning_compress.callbacks.hooks.logged import captured_logging
from lightning_compress.callbacks.hooks.validation import logged_in_step, validation_batches
from lightning_compress.search import Calibration, Evaluate


class ModuleWithLoss(Protocol):
    """A module whose method ``loss`` takes a batch."""

    def loss(self, batch: object) -> Tensor:
        """The loss of a batch."""


@dataclass(frozen=True)
class OwnLoss:
    """Calibration data whose loss is the module's own method ``loss(batch)``; nothing is decoded.

    Args:
        trainer: its validation batches are used.
        batches: the number of batches of each loader, at most; None for as many as Lightning uses.
    """

    trainer: Trainer
    batches: int | None

    def __iter__(self) -> Iterator[Batch]:
        module = cast(LightningModule, self.trainer.lightning_module)
        return validation_batches(self.trainer, module, self.batches)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The module's loss of a batch."""
        with captured_logging(module), self.trainer.precision_plugin.forward_context():
            return cast(ModuleWithLoss, module).loss(batch[0])


@dataclass(frozen=True)
class LoggedLoss(OwnLoss):
    """Calibration data whose loss is a value that the module logs in its validation step.

    Args:
        trainer: and ``batches`` as for :class:`OwnLoss`.
        name: under which the loss is logged.
    """

    name: str

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The loss that is logged for a batch."""
        loss: Tensor = logged_in_step(self.trainer, cast(LightningModule, module), batch, self.name)
        return loss


def has_loss(module: object) -> bool:
    """Whether a module has a method ``loss`` that needs a batch and nothing else. A loss function is not one."""
    method = getattr(type(module), "loss", None)
    if not inspect.isfunction(method):
        return False
    _, *parameters = inspect.signature(method).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(needed) == 1 and needed[0].kind in (needed[0].POSITIONAL_ONLY, needed[0].POSITIONAL_OR_KEYWORD)


def mean_loss(calibration: Calibration, batches: int | None) -> Evaluate:
    """Module → the mean loss over batches; infinity if a loss is NaN.

    Args:
        calibration: batches and their loss.
        batches: the number of batches, the first ones; None for all.

    Raises:
        CallbackError: an argument is wrong.
    """
    check_calibration(calibration, optional=False)
    check_whole_number("batches", batches, 1, optional=True)

    def evaluate(module: nn.Module) -> float:
        first: Iterable[Any] = islice(calibration, batches)
        losses = [torch.as_tensor(calibration.loss(module, batch)).detach().double().cpu() for batch in first]
        value = float(torch.stack(losses).mean())
        return value if value == value else float("inf")

    return evaluate
