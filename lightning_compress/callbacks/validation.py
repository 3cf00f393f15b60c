"""The trainer's own validation of one metric, in the middle of ``fit`` and unnoticed by it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from lightning_compress.callbacks.base import lightning_name
from lightning_compress.errors import CallbackError
from lightning_compress.weights import is_metric


def validated(trainer: Any, module: Any, monitor: str) -> float:
    """Validate the module as it stands on the trainer's validation data; the value of one metric that it logs.

    The hooks of the module are called as Lightning calls them, those of callbacks are not. What is logged goes nowhere.
    To be called where the module is kept, in ``eval()`` mode and without gradients.

    Raises:
        CallbackError: there is no validation data, or the metric is not logged.
    """
    loaders = _loaders(trainer.val_dataloaders)
    if not loaders:
        raise CallbackError(
            f"there is no validation data yet to measure {monitor!r} on: give CompressCheckpoint(evaluate=…), or save "
            "checkpoints after a validation"
        )
    log = _Log(len(loaders) > 1)
    shadows = {"log": log.take, "log_dict": log.take_all}
    for part in module.modules():
        if is_metric(part):
            part.reset()
    vars(module).update(shadows)
    try:
        _run(trainer, module, loaders, log)
    finally:
        for name in shadows:
            del vars(module)[name]
    return log.value(monitor)


def _run(trainer: Any, module: Any, loaders: list[Any], log: _Log) -> None:
    limits = trainer.num_val_batches
    extract = import_module(f"{lightning_name()}.utilities.data").extract_batch_size
    module.on_validation_start()
    module.on_validation_epoch_start()
    for loader, data in enumerate(loaders):
        for number, raw in enumerate(islice(data, _whole(limits, loader))):
            batch = trainer.precision_plugin.convert_input(raw)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=loader)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=loader)
            log.begin(loader, partial(extract, batch))
            place = (batch, number, loader) if len(loaders) > 1 else (batch, number)
            module.on_validation_batch_start(*place)
            takes = len(inspect.signature(module.validation_step).parameters)
            output = trainer.strategy.validation_step(*place[: max(takes, 1)])
            module.on_validation_batch_end(output, *place)
    log.begin(None, lambda: 1)
    module.on_validation_epoch_end()
    module.on_validation_end()


def _loaders(data: Any) -> list[Any]:
    """Every loader in whatever the validation data is made of, in Lightning's order."""
    if data is None:
        return []
    if isinstance(data, Mapping):
        return [loader for part in data.values() for loader in _loaders(part)]
    if isinstance(data, (list, tuple)):
        return [loader for part in data for loader in _loaders(part)]
    return [data]


def _whole(limits: Any, loader: int) -> int | None:
    """How many batches of a loader Lightning takes; None for all."""
    limit = limits[loader] if isinstance(limits, (list, tuple)) and loader < len(limits) else float("inf")
    return None if limit == float("inf") else int(limit)


class _Log:
    """Stands for ``self.log`` while a module is validated, and makes one value of what it is given."""

    def __init__(self, several_loaders: bool) -> None:
        self._several = several_loaders
        self._loader: int | None = None
        self._batch_size: Callable[[], int] = lambda: 1
        self._values: dict[str, list[tuple[Tensor, float]]] = {}
        self._reductions: dict[str, Any] = {}
        self._metrics: dict[str, Any] = {}

    def begin(self, loader: int | None, batch_size: Callable[[], int]) -> None:
        """A batch of a loader begins; None: all are through."""
        self._loader, self._batch_size = loader, batch_size

    def take(
        self,
        name: str,
        value: Any,
        *_: Any,
        reduce_fx: Any = "mean",
        batch_size: int | None = None,
        add_dataloader_idx: bool = True,
        **__: Any,
    ) -> None:
        """What ``self.log`` is called with."""
        if self._several and self._loader is not None and add_dataloader_idx:
            name = f"{name}/dataloader_idx_{self._loader}"
        self._reductions[name] = reduce_fx
        if is_metric(value):
            self._metrics[name] = value
        else:
            size = batch_size if batch_size is not None else self._batch_size()
            number = torch.as_tensor(value, dtype=torch.float64).detach().cpu().reshape(())
            self._values.setdefault(name, []).append((number, float(size)))

    def take_all(self, values: Mapping[str, Any], *arguments: Any, **options: Any) -> None:
        """What ``self.log_dict`` is called with."""
        for name, value in values.items():
            self.take(name, value, *arguments, **options)

    def value(self, name: str) -> float:
        """The value of a whole validation, by the name that a checkpoint would monitor."""
        # What is logged by step and by epoch is monitored as NAME_epoch.
        for known in (name, name.removesuffix("_epoch"), name.replace("_epoch/", "/")):
            if known in self._metrics:
                return float(self._metrics[known].compute())
            if known in self._values:
                return self._reduced(known)
        logged = ", ".join(sorted({*self._metrics, *self._values})) or "nothing"
        raise CallbackError(
            f"validation does not log {name!r}, it logs {logged}: correct monitor=…, or give "
            "CompressCheckpoint(evaluate=…)"
        )

    def _reduced(self, name: str) -> float:
        values = torch.stack([value for value, _ in self._values[name]])
        how = self._reductions[name]
        how = getattr(how, "__name__", how)
        if how == "mean":
            sizes = torch.tensor([size for _, size in self._values[name]], dtype=torch.float64)
            return float((values * sizes).sum() / sizes.sum())
        reduce: Mapping[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "min": torch.amin, "max": torch.amax}
        return float(reduce[how](values) if how in reduce else self._reductions[name](values))
