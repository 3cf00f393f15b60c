"""The trainer's own validation, run in the middle of ``fit`` without any effect on the training."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from torch import Generator, Tensor

from lightning_compress.callbacks.hooks.lightning_types import Batch, LightningModule, Metric, Trainer
from lightning_compress.callbacks.hooks.logged import CapturedMetrics, captured_logging
from lightning_compress.errors import CallbackError
from lightning_compress.search.evaluate import SearchStoppedError
from lightning_compress.weights import is_metric


def validated(trainer: Trainer, module: LightningModule, monitor: str, batches: int | None = None) -> float:
    """Validate the module with its current weights on the trainer's validation data; the value of one metric.

    The module's hooks are called as Lightning calls them; those of callbacks are not. What the module logs is
    discarded. The caller must have a snapshot of the module, set it to ``eval()`` and disable gradients.

    Args:
        trainer: of the module.
        module: the module to validate.
        monitor: the metric's name, as a ``ModelCheckpoint`` would monitor it.
        batches: the number of batches of each loader, the first ones; as many as Lightning uses by default.

    Raises:
        CallbackError: there is no validation data, or the metric is not logged.
        SearchStoppedError: the process was asked to end.
    """
    with isolated(module) as captured:
        validate_batches(trainer, module, captured, batches)
        conclude(module, captured)
    return captured.value(monitor)


@contextmanager
def isolated(module: LightningModule) -> Iterator[CapturedMetrics]:
    """A context in which a validation starts with empty metrics, and what the module logs goes to the object given."""
    for part in module.modules():
        if is_metric(part):
            cast(Metric, part).reset()
    with captured_logging(module) as captured:
        yield captured


def validate_batches(trainer: Trainer, module: LightningModule, captured: CapturedMetrics, batches: int | None) -> None:
    """The part of a validation that depends on the data: all batches, with the hooks before them.

    Raises:
        CallbackError: there is no validation data.
        SearchStoppedError: the process was asked to end.
    """
    module.on_validation_start()
    module.on_validation_epoch_start()
    for batch in validation_batches(trainer, module, batches):
        check_not_terminated(trainer)
        captured.begin(batch)
        module.on_validation_batch_start(*batch)
        output = _step(trainer, module, batch)
        module.on_validation_batch_end(output, *batch)


def conclude(module: LightningModule, captured: CapturedMetrics) -> None:
    """The hooks after the last batch of a validation."""
    captured.begin(None)
    module.on_validation_epoch_end()
    module.on_validation_end()


def check_not_terminated(trainer: Trainer) -> None:
    """Refuse to go on after SIGTERM, which Lightning only notes.

    Raises:
        SearchStoppedError: it was received.
    """
    if trainer.received_sigterm:
        raise SearchStoppedError("the process received SIGTERM")


def logged_in_step(trainer: Trainer, module: LightningModule, batch: Batch, name: str) -> Any:
    """The value that the module logs under a name in its validation step on one batch, with its gradient if it has one.

    The caller must do as for :func:`validated`, and enable gradients if they are wanted.

    Raises:
        CallbackError: nothing is logged under this name.
    """
    with isolated(module) as captured:
        captured.begin(batch)
        _step(trainer, module, batch)
    return captured.newest(name)


def validation_batches(trainer: Trainer, module: LightningModule, batches: int | None = None) -> Iterator[Batch]:
    """The trainer's validation batches from the start, on the module's device, in the same order each time.

    Args:
        trainer: of the module.
        module: its hooks move batches to the device.
        batches: as for :func:`validated`.

    Raises:
        CallbackError: there is no validation data.
    """
    loaders = _loaders(trainer.val_dataloaders)
    if not loaders:
        raise CallbackError(
            "there is no validation data yet to measure on: give evaluate=…, or run a validation before the measurement"
        )
    for loader, data in enumerate(loaders):
        limit = _limit(trainer.num_val_batches, loader, batches)
        for number, raw in enumerate(islice(_with_own_generators(data), limit)):
            batch = trainer.precision_plugin.convert_input(raw)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=loader)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=loader)
            yield (batch, number, loader) if len(loaders) > 1 else (batch, number)


def _step(trainer: Trainer, module: LightningModule, batch: Batch) -> Tensor | Mapping[str, Any] | None:
    parameters = len(inspect.signature(module.validation_step).parameters)
    arguments = batch[: max(parameters, 1)]
    if trainer.world_size == 1:
        return trainer.strategy.validation_step(*arguments)
    # The wrapper of the strategy would send buffers in each step, and a rank that fails leaves the others waiting.
    with trainer.precision_plugin.val_step_context():
        return module.validation_step(*arguments)


def _with_own_generators(loader: Iterable[object]) -> Iterator[object]:
    """The batches of a loader. Between batches its random generators have the state that the training left them in."""
    owners = [loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    held = {id(g): g for g in (getattr(owner, "generator", None) for owner in owners) if isinstance(g, Generator)}
    generators = list(held.values())
    ours = [generator.get_state() for generator in generators]
    items: Iterator[object] | None = None
    while True:
        theirs = [generator.get_state() for generator in generators]
        _set(generators, ours)
        try:
            items = iter(loader) if items is None else items
            item = next(items)
        except StopIteration:
            return
        finally:
            ours = [generator.get_state() for generator in generators]
            _set(generators, theirs)
        yield item


def _set(generators: Sequence[Generator], states: Sequence[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def _loaders(data: object) -> list[Iterable[object]]:
    """Every loader in a nesting of lists and mappings, in Lightning's order."""
    if data is None:
        return []
    if isinstance(data, Mapping):
        return [loader for part in data.values() for loader in _loaders(part)]
    if isinstance(data, (list, tuple)):
        return [loader for part in data for loader in _loaders(part)]
    return [cast(Iterable[object], data)]


def _limit(limits: object, loader: int, batches: int | None) -> int | None:
    """How many batches of a loader are used, never more than Lightning uses; None for all."""
    limit = limits[loader] if isinstance(limits, (list, tuple)) and loader < len(limits) else float("inf")
    limit = min(limit, float("inf") if batches is None else batches)
    return None if limit == float("inf") else int(limit)
