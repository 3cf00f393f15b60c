"""The trainer's own validation of one metric, in the middle of ``fit`` and unnoticed by it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch import Generator, Tensor

from lightning_compress.callbacks.hooks.logged import Logged, Place, unlogged
from lightning_compress.errors import CallbackError
from lightning_compress.weights import is_metric


def validated(trainer: Any, module: Any, monitor: str, batches: int | None = None) -> float:
    """Validate the module as it stands on the trainer's validation data; the value of one metric that it logs.

    The hooks of the module are called as Lightning calls them, those of callbacks are not. What is logged goes nowhere.
    To be called where the module is kept, in ``eval()`` mode and without gradients.

    Args:
        trainer: of the module.
        module: to be validated.
        monitor: the metric's name, as a ``ModelCheckpoint`` would monitor it.
        batches: of each loader, how many are taken at most, the first ones; as many as Lightning takes by default.

    Raises:
        CallbackError: there is no validation data, or the metric is not logged.
    """
    with _unnoticed(module) as log:
        module.on_validation_start()
        module.on_validation_epoch_start()
        for place in validation_batches(trainer, module, batches):
            log.begin(place)
            module.on_validation_batch_start(*place)
            output = _step(trainer, module, place)
            module.on_validation_batch_end(output, *place)
        log.begin(None)
        module.on_validation_epoch_end()
        module.on_validation_end()
    return log.value(monitor)


def logged_in_step(trainer: Any, module: Any, place: Place, name: str) -> Any:
    """What the module logs under a name in its validation step on one batch, with whatever gradient that has.

    To be called as :func:`validated`, for gradients where they are enabled.

    Raises:
        CallbackError: it is not logged there.
    """
    with _unnoticed(module) as log:
        log.begin(place)
        _step(trainer, module, place)
    return log.newest(name)


def validation_batches(trainer: Any, module: Any, batches: int | None = None) -> Iterator[Place]:
    """The trainer's validation batches from the start, on the module's device, in the same order each time.

    Args:
        trainer: of the module.
        module: whose hooks move batches.
        batches: as for :func:`validated`.

    Raises:
        CallbackError: there is no validation data.
    """
    loaders = _loaders(trainer.val_dataloaders)
    if not loaders:
        raise CallbackError(
            "there is no validation data yet to measure on: give evaluate=…, or have a validation come before"
        )
    for loader, data in enumerate(loaders):
        for number, raw in enumerate(islice(_apart(data), _whole(trainer.num_val_batches, loader, batches))):
            batch = trainer.precision_plugin.convert_input(raw)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=loader)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=loader)
            yield (batch, number, loader) if len(loaders) > 1 else (batch, number)


@contextmanager
def _unnoticed(module: Any) -> Iterator[Logged]:
    for part in module.modules():
        if is_metric(part):
            part.reset()
    with unlogged(module) as log:
        yield log


def _step(trainer: Any, module: Any, place: Place) -> Any:
    takes = len(inspect.signature(module.validation_step).parameters)
    return trainer.strategy.validation_step(*place[: max(takes, 1)])


def _apart(loader: Any) -> Iterator[Any]:
    """What a loader gives, its own random generators being as they were whenever it is not giving."""
    owners = [loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    held = {id(g): g for g in (getattr(owner, "generator", None) for owner in owners) if isinstance(g, Generator)}
    generators = list(held.values())
    ours = [generator.get_state() for generator in generators]
    items: Iterator[Any] | None = None
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


def _loaders(data: Any) -> list[Any]:
    """Every loader in whatever the validation data is made of, in Lightning's order."""
    if data is None:
        return []
    if isinstance(data, Mapping):
        return [loader for part in data.values() for loader in _loaders(part)]
    if isinstance(data, (list, tuple)):
        return [loader for part in data for loader in _loaders(part)]
    return [data]


def _whole(limits: Any, loader: int, batches: int | None) -> int | None:
    """How many batches of a loader are taken, never more than Lightning takes; None for all."""
    limit = limits[loader] if isinstance(limits, (list, tuple)) and loader < len(limits) else float("inf")
    limit = min(limit, float("inf") if batches is None else batches)
    return None if limit == float("inf") else int(limit)
