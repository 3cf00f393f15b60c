"""Captures what a module logs while a callback validates it, so that nothing reaches the trainer's loggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lightning_compress.callbacks.hooks.base import lightning_name
from lightning_compress.callbacks.hooks.lightning_types import Batch
from lightning_compress.errors import CallbackError
from lightning_compress.weights import is_metric

_LOADER = "/dataloader_idx_"


@contextmanager
def captured_logging(module: object) -> Iterator[CapturedMetrics]:
    """Replace the module's ``log`` and ``log_dict`` for a block; what they receive goes to the object given."""
    captured = CapturedMetrics()
    replacements = {"log": captured.log, "log_dict": captured.log_dict}
    vars(module).update(replacements)
    try:
        yield captured
    finally:
        for name in replacements:
            vars(module).pop(name, None)


class CapturedMetrics:
    """Receives what a module logs in a validation, and reduces it as Lightning does."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._newest: dict[str, Any] = {}
        self._values: dict[str, list[tuple[Tensor, float]]] = {}
        self._reductions: dict[str, Any] = {}
        self._metrics: dict[str, Any] = {}

    def begin(self, batch: Batch | None) -> None:
        """Set the batch that is validated next; None after the last one."""
        self._batch = batch

    def log(
        self,
        name: str,
        value: object,
        *_: object,
        reduce_fx: object = "mean",
        batch_size: int | None = None,
        add_dataloader_idx: bool = True,
        **__: object,
    ) -> None:
        """Stands for ``self.log``."""
        self._newest[name] = value
        if self._batch is not None and len(self._batch) > 2 and add_dataloader_idx:
            name = f"{name}{_LOADER}{self._batch[2]}"
        self._reductions[name] = reduce_fx
        if is_metric(value):
            self._metrics[name] = value
        else:
            size = batch_size if batch_size is not None else self._batch_size()
            number = torch.as_tensor(value, dtype=torch.float64).detach().cpu().reshape(())
            self._values.setdefault(name, []).append((number, float(size)))

    def log_dict(
        self, values: Mapping[str, object], *arguments: object, **options: Any
    ) -> None:  # Any: those of ``log``
        """Stands for ``self.log_dict``."""
        for name, value in values.items():
            self.log(name, value, *arguments, **options)

    def value(self, name: str) -> float:
        """The value of a metric over the validation.

        Args:
            name: as a ``ModelCheckpoint`` would monitor it.

        Raises:
            CallbackError: nothing was logged under this name.
        """
        # What is logged both on each step and on each epoch is monitored as NAME_epoch.
        for known in (name, name.removesuffix("_epoch"), name.replace("_epoch/", "/")):
            if known in self._metrics:
                return float(self._metrics[known].compute())
            if known in self._values:
                return self._reduced(known)
        raise self._unknown(name)

    def newest(self, name: str) -> Any:
        """What was logged last under a name, as it was given; the loader in the name is ignored.

        Raises:
            CallbackError: nothing was logged under this name.
        """
        base = name.partition(_LOADER)[0]
        for known in (base, base.removesuffix("_epoch")):
            if known in self._newest:
                return self._newest[known]
        raise self._unknown(name)

    def _unknown(self, name: str) -> CallbackError:
        logged = ", ".join(sorted({*self._metrics, *self._values})) or "nothing"
        return CallbackError(
            f"validation does not log {name!r}, it logs {logged}: correct the name of the metric, or give evaluate=…"
        )

    def _batch_size(self) -> int:
        if self._batch is None:
            return 1
        extract = import_module(f"{lightning_name()}.utilities.data").extract_batch_size
        return int(extract(self._batch[0]))

    def _reduced(self, name: str) -> float:
        values = torch.stack([value for value, _ in self._values[name]])
        how = self._reductions[name]
        how = getattr(how, "__name__", how)
        if how == "mean":
            sizes = torch.tensor([size for _, size in self._values[name]], dtype=torch.float64)
            return float((values * sizes).sum() / sizes.sum())
        reduce: Mapping[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "min": torch.amin, "max": torch.amax}
        return float(reduce[how](values) if how in reduce else self._reductions[name](values))
