"""The loss of a trainer's validation batches, one forward pass each, with gradients where they are enabled."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from lightning_compress.callbacks.hooks.logged import Place, unlogged
from lightning_compress.callbacks.hooks.validation import logged_in_step, validation_batches
from lightning_compress.search import Evaluate


@dataclass(frozen=True)
class OwnLoss:
    """Calibration by the module's own method ``loss(batch)``, which decodes nothing.

    Args:
        trainer: whose validation batches are taken.
        batches: of each loader, how many at most; None for as many as Lightning takes.
    """

    trainer: Any
    batches: int | None

    def __iter__(self) -> Iterator[Place]:
        return validation_batches(self.trainer, self.trainer.lightning_module, self.batches)

    def loss(self, module: Any, place: Place) -> Any:
        """The module's loss of a batch."""
        with unlogged(module), self.trainer.precision_plugin.forward_context():
            return module.loss(place[0])


@dataclass(frozen=True)
class LoggedLoss(OwnLoss):
    """Calibration by what the module logs under a name in its validation step.

    Args:
        trainer: and ``batches`` as for :class:`OwnLoss`.
        name: of the loss.
    """

    name: str

    def loss(self, module: Any, place: Place) -> Any:
        """The loss that is logged for a batch."""
        return logged_in_step(self.trainer, module, place, self.name)


def has_loss(module: Any) -> bool:
    """Whether a module has a method ``loss`` that asks for a batch and nothing else; a loss function is none."""
    method = getattr(type(module), "loss", None)
    if not inspect.isfunction(method):
        return False
    _, *parameters = inspect.signature(method).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(needed) == 1 and needed[0].kind in (needed[0].POSITIONAL_ONLY, needed[0].POSITIONAL_OR_KEYWORD)


def mean_loss(calibration: Any, batches: int | None) -> Evaluate:
    """Module → the mean over batches of their loss, infinite for a module whose loss is not a number.

    Args:
        calibration: batches and their loss.
        batches: how many are taken at most, the first ones; None for all.
    """

    def evaluate(module: Any) -> float:
        first: Iterable[Any] = islice(calibration, batches)
        losses = [torch.as_tensor(calibration.loss(module, batch)).detach().double().cpu() for batch in first]
        value = float(torch.stack(losses).mean())
        return value if value == value else float("inf")

    return evaluate
