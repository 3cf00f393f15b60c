"""Calibration data: batches that can be gone through many times, and the loss of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError


class Calibration(Protocol):
    """Batches of the kind the model was trained on; a few hundred examples are enough."""

    def __iter__(self) -> Iterator[Any]:
        """The batches from the start, each time it is asked."""
        ...

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch, a scalar that gradients flow from."""
        ...


@runtime_checkable
class Distillation(Calibration, Protocol):
    """Calibration data that tells the module's answers too; recovery needs them."""

    def outputs(self, module: nn.Module, batch: Any) -> Tensor:
        """Scores before the softmax, ``[…, classes]``, for everything that the module predicts in a batch.

        Padding should be left out.
        """
        ...


def batches_of(calibration: Calibration) -> Iterator[Any]:
    """The batches from the start.

    Raises:
        SearchError: one cannot be had, or there is none.
    """
    number = 0
    try:
        for batch in calibration:
            yield batch
            number += 1
    except Exception as error:
        raise SearchError(
            f"calibration fails to give batch {number}, with {type(error).__name__}: {error}. The module is as it was."
        ) from error
    if not number:
        raise SearchError("calibration gives no batch this time: it is gone through many times, give them each time")


def check_calibration(calibration: Any, module: nn.Module) -> None:
    """Try the first batch, before anything is paid for.

    To be called in a block that keeps the module (:meth:`~lightning_compress.search.Evaluator.exact`).

    Raises:
        SearchError: it cannot be gone through twice, is empty, has no ``loss``, or the loss of its first batch fails or
            is no finite scalar with a gradient.
    """
    if not callable(getattr(calibration, "loss", None)):
        raise SearchError(
            f"calibration is a {type(calibration).__name__} without loss(module, batch): give it that method"
        )
    batch = None
    for _ in range(2):
        try:
            batches = iter(calibration)
            batch = next(batches)
        except StopIteration:
            raise SearchError(
                "calibration gives no batch, or gives them only once: it is gone through many times, so it must start "
                "anew at each iteration, as a list or a DataLoader does and a generator does not"
            ) from None
        except Exception as error:
            raise SearchError(f"calibration fails to give a batch, with {type(error).__name__}: {error}") from error
        if batches is calibration:
            raise SearchError(
                "calibration is an iterator, which can be gone through only once: give an object whose __iter__ "
                "starts anew"
            )
    try:
        with torch.enable_grad():
            loss = calibration.loss(module, batch)
    except Exception as error:
        raise SearchError(
            f"calibration.loss failed on the first batch with {type(error).__name__}: {error}. Give batches that fit "
            "the module, on its device. The module is as it was."
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad or not bool(loss.isfinite()):
        raise SearchError(
            f"calibration.loss gave {loss!r:.120}, expected a finite scalar tensor that gradients flow from"
        )
