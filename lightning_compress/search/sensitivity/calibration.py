"""Calibration data: batches that can be iterated repeatedly, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError


class Calibration(Protocol):
    """Batches like those of the training; a few hundred examples are enough."""

    def __iter__(self) -> Iterator[Any]:
        """The batches, from the start at every call."""
        ...

    def loss(self, module: nn.Module, batch: Any) -> Tensor:  # Any: an implementation takes its own kind of batch
        """The loss of one batch, a scalar with a gradient."""
        ...


@runtime_checkable
class Distillation(Calibration, Protocol):
    """Calibration data that also provides the module's outputs, which recovery needs."""

    def outputs(self, module: nn.Module, batch: Any) -> Tensor:  # Any: likewise
        """Logits ``[…, classes]`` of all predictions in a batch, without padding."""
        ...


def batches_of(calibration: Calibration) -> Iterator[Any]:
    """The batches from the start.

    Raises:
        SearchError: the iteration fails, or yields no batch.
    """
    index = 0
    try:
        for batch in calibration:
            yield batch
            index += 1
    except Exception as error:
        raise SearchError(
            f"calibration fails to give batch {index}, with {type(error).__name__}: {error}. The module is as it was."
        ) from error
    if not index:
        raise SearchError("calibration gives no batch this time: it is gone through many times, give them each time")


def check_has_loss(calibration: object) -> None:
    """Raise a SearchError for calibration data without a method ``loss``; None is no calibration data."""
    if calibration is not None and not callable(getattr(calibration, "loss", None)):
        raise SearchError(
            f"calibration is a {type(calibration).__name__} without loss(module, batch): give it that method"
        )


def check_calibration(calibration: Any, module: nn.Module) -> None:  # Any: what the user gave, which this checks
    """Check the calibration data with their first batch, before expensive work starts.

    To be called where the module is restored afterwards (:meth:`~lightning_compress.search.Evaluator.exact_weights`).

    Raises:
        SearchError: the batches cannot be iterated twice or are empty, ``loss`` is missing, or the loss of the first
            batch fails or is not a finite scalar with a gradient.
    """
    check_has_loss(calibration)
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
