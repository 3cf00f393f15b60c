"""What a module logs while it is validated by us: kept here, and told to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lightning_compress.callbacks.hooks.base import lightning_name
from lightning_compress.errors import CallbackError
from lightning_compress.weights import is_metric

Place = tuple[Any, ...]  # a batch, its number, and where there are several loaders that of its loader
_LOADER = "/dataloader_idx_"


@contextmanager
def unlogged(module: Any) -> Iterator[Logged]:
    """What a module logs goes to what is given, and nowhere else, for the length of a block."""
    log = Logged()
    shadows = {"log": log.take, "log_dict": log.take_all}
    vars(module).update(shadows)
    try:
        yield log
    finally:
        for name in shadows:
            vars(module).pop(name, None)


class Logged:
    """Stands for ``self.log`` while a module is validated, and makes one value of what it is given."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._newest: dict[str, Any] = {}
        self._values: dict[str, list[tuple[Tensor, float]]] = {}
        self._reductions: dict[str, Any] = {}
        self._metrics: dict[str, Any] = {}

    def begin(self, place: Place | None) -> None:
        """A batch begins; None: all are through."""
        self._place = place

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
        self._newest[name] = value
        if self._place is not None and len(self._place) > 2 and add_dataloader_idx:
            name = f"{name}{_LOADER}{self._place[2]}"
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
        raise self._unknown(name)

    def newest(self, name: str) -> Any:
        """What was logged last under a name, as it was given; the loader does not count."""
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
        if self._place is None:
            return 1
        extract = import_module(f"{lightning_name()}.utilities.data").extract_batch_size
        return int(extract(self._place[0]))

    def _reduced(self, name: str) -> float:
        values = torch.stack([value for value, _ in self._values[name]])
        how = self._reductions[name]
        how = getattr(how, "__name__", how)
        if how == "mean":
            sizes = torch.tensor([size for _, size in self._values[name]], dtype=torch.float64)
            return float((values * sizes).sum() / sizes.sum())
        reduce: Mapping[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "min": torch.amin, "max": torch.amax}
        return float(reduce[how](values) if how in reduce else self._reductions[name](values))
