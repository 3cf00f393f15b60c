"""Captures what a module logs while a callback validates it, so that nothing reaches the trainer's loggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lightning_compress.callbacks.hooks.base import lightning_name
from lightning_compress.callbacks.hooks.lightning_types import Batch
from lightning_compress.errors import CallbackError
from lightning_compress.weights import is_metric

_LOADER = "/dataloader_idx_"
Entry = tuple[float, float]  # a value, and the size of the batch that it is of


@dataclass(frozen=True)
class Part:
    """What one of several processes has logged under a name.

    Attributes:
        is_metric: whether it is a metric of torchmetrics.
        entries: the values, otherwise.
    """

    is_metric: bool
    entries: tuple[Entry, ...]


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
        self._entries: dict[str, list[Entry]] = {}
        self._reductions: dict[str, Any] = {}
        self._is_synchronized: dict[str, bool] = {}
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
        sync_dist: bool = False,
        batch_size: int | None = None,
        add_dataloader_idx: bool = True,
        **__: object,
    ) -> None:
        """Stands for ``self.log``."""
        self._newest[name] = value
        if self._batch is not None and len(self._batch) > 2 and add_dataloader_idx:
            name = f"{name}{_LOADER}{self._batch[2]}"
        self._reductions[name], self._is_synchronized[name] = reduce_fx, sync_dist
        if is_metric(value):
            self._metrics[name] = value
        else:
            size = batch_size if batch_size is not None else self._batch_size()
            self._entries.setdefault(name, []).append((float(torch.as_tensor(value).detach()), float(size)))

    def log_dict(
        self, values: Mapping[str, object], *arguments: object, **options: Any
    ) -> None:  # Any: those of ``log``
        """Stands for ``self.log_dict``."""
        for name, value in values.items():
            self.log(name, value, *arguments, **options)

    def value(self, name: str, parts: Sequence[Part] = ()) -> float:
        """The value of a metric over the validation.

        Args:
            name: as a ``ModelCheckpoint`` would monitor it.
            parts: with several processes, the :meth:`part` of each. A metric of torchmetrics synchronizes itself.

        Raises:
            CallbackError: nothing was logged under this name, or a metric of torchmetrics by some processes only.
        """
        known = self._known(name)
        if known is None:
            raise self._unknown(name)
        if known in self._metrics:
            if not all(part.is_metric for part in parts):
                raise CallbackError(f"only some processes log {name!r} as a metric of torchmetrics: log it on all")
            return float(self._metrics[known].compute())
        how = getattr(self._reductions[known], "__name__", self._reductions[known])
        # A sum may be one over all processes already, which Lightning adds up again only with sync_dist=True.
        is_common = how != "sum" or self._is_synchronized[known]
        entries = [entry for part in parts for entry in part.entries] if is_common else []
        return self._reduced(known, entries or self._entries[known])

    def part(self, name: str) -> Part:
        """What this process contributes to the value of a metric over several processes."""
        known = self._known(name) or ""
        return Part(known in self._metrics, tuple(self._entries.get(known, ())))

    def _known(self, name: str) -> str | None:
        # What is logged both on each step and on each epoch is monitored as NAME_epoch.
        names = (name, name.removesuffix("_epoch"), name.replace("_epoch/", "/"))
        return next((known for known in names if known in self._metrics or known in self._entries), None)

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
        logged = ", ".join(sorted({*self._metrics, *self._entries})) or "nothing"
        return CallbackError(
            f"validation does not log {name!r}, it logs {logged}: correct the name of the metric, or give evaluate=…"
        )

    def _batch_size(self) -> int:
        if self._batch is None:
            return 1
        extract = import_module(f"{lightning_name()}.utilities.data").extract_batch_size
        return int(extract(self._batch[0]))

    def _reduced(self, name: str, entries: Sequence[Entry]) -> float:
        values, sizes = torch.tensor(entries, dtype=torch.float64).T
        how = getattr(self._reductions[name], "__name__", self._reductions[name])
        if how == "mean":
            return float((values * sizes).sum() / sizes.sum())
        reduce: Mapping[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "min": torch.amin, "max": torch.amax}
        return float(reduce[how](values) if how in reduce else self._reductions[name](values))
