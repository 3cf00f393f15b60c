"""Calibration data: batches that can be iterated repeatedly, and the loss of a batch or the module's outputs for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError


class Batches(Protocol):
    """Batches like those of the training; a few hundred examples are enough."""

    def __iter__(self) -> Iterator[Any]:
        """The batches, from the start at every call."""
        ...


@runtime_checkable
class Calibration(Batches, Protocol):
    """Calibration data that provide the loss of a batch."""

    def loss(self, module: nn.Module, batch: Any) -> Tensor:  # Any: an implementation takes its own kind of batch
        """The loss of one batch, a scalar with a gradient."""
        ...


@runtime_checkable
class Distillation(Batches, Protocol):
    """Calibration data that provide the module's outputs, with or without a loss."""

    def outputs(self, module: nn.Module, batch: Any) -> Tensor:  # Any: likewise
        """Logits ``[…, classes]`` of all predictions in a batch, without padding."""
        ...


CalibrationData = Calibration | Distillation


def batches_of(calibration: Batches) -> Iterator[Any]:
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
        SearchError: the batches cannot be iterated twice or are empty; ``loss`` and ``outputs`` are missing; or the
            first batch fails, or its loss is not a finite scalar with a gradient, or without ``loss`` its outputs are
            not a tensor with a gradient.
    """
    by_outputs = not callable(getattr(calibration, "loss", None))
    if by_outputs and not callable(getattr(calibration, "outputs", None)):
        raise SearchError(
            f"calibration is a {type(calibration).__name__} without loss(module, batch) and outputs(module, batch): "
            "give it one of them"
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
    method = "outputs" if by_outputs else "loss"
    try:
        with torch.enable_grad():
            found = getattr(calibration, method)(module, batch)
    except Exception as error:
        raise SearchError(
            f"calibration.{method} failed on the first batch with {type(error).__name__}: {error}. Give batches that "
            "fit the module, on its device. The module is as it was."
        ) from error
    (_check_outputs if by_outputs else _check_loss)(found)


def _check_outputs(outputs: object) -> None:
    if not isinstance(outputs, Tensor) or not outputs.ndim or not outputs.numel() or not outputs.requires_grad:
        raise SearchError(
            f"calibration.outputs gave {outputs!r:.120}, expected a tensor [..., classes] of scores before the softmax "
            "that gradients flow from"
        )


def _check_loss(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad or not bool(loss.isfinite()):
        raise SearchError(
            f"calibration.loss gave {loss!r:.120}, expected a finite scalar tensor that gradients flow from"
        )
