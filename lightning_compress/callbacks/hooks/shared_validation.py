"""Validations by all processes, while otherwise rank 0 alone is at work, as in a search.

Rank 0 does the work. Each time that it has weights to validate, it sends a request to the other ranks, which wait for
one. Then every rank receives the weights of rank 0, validates on its own part of the data, and what was logged is
reduced over all ranks. The ranks exchange between these steps whether they succeeded, so an error of one rank is raised
on rank 0, and no rank waits for another that has failed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.hooks.exchange import Exchange, can_exchange, exchange_of
from lightning_compress.callbacks.hooks.lightning_types import LightningModule, Trainer
from lightning_compress.callbacks.hooks.validation import conclude, isolated, validate_batches
from lightning_compress.errors import CallbackError
from lightning_compress.runtime.snapshot import ModuleSnapshot, preserved_module
from lightning_compress.search.evaluate import SearchStoppedError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Layout = list[tuple[tuple[int, ...], str]]  # shape and dtype of each tensor of a module
_led: ContextVar[Exchange | None] = ContextVar("_led", default=None)  # with ranks that wait for requests


@dataclass(frozen=True)
class _Request:
    """What rank 0 asks of the other ranks: to validate."""

    monitor: str
    batches: int | None
    layout: _Layout


@dataclass(frozen=True)
class _End:
    """The work of rank 0 has ended."""

    failure: str | None


@dataclass(frozen=True)
class _Outcome(Generic[_T]):
    """Of a step on one rank: its result, or its failure."""

    result: _T | None
    failure: str | None = None
    is_stop: bool = False  # whether the process is to end


def can_validate_together(trainer: Trainer) -> bool:
    """Whether the trainer has one process, or several that exchange tensors by ``torch.distributed``."""
    return trainer.world_size == 1 or can_exchange()


def led_by_rank_zero(trainer: Trainer, work: Callable[[], None]) -> None:
    """Call ``work`` on rank 0, while the other ranks take part in its validations. To be called on every rank.

    Args:
        trainer: with any number of processes.
        work: may call :func:`validated_by_all`.

    Raises:
        BaseException: on rank 0, what ``work`` raised; on another rank, an interrupt that it received.
        CallbackError: on the other ranks, with the text of the error of rank 0.
    """
    exchange = exchange_of(trainer.world_size) if trainer.world_size > 1 and can_exchange() else None
    if exchange is None:
        if trainer.is_global_zero:
            work()
    elif trainer.is_global_zero:
        _lead(exchange, work)
    else:
        _follow(trainer, exchange)


def validated_by_all(trainer: Trainer, module: nn.Module, monitor: str, batches: int | None = None) -> float:
    """Like :func:`~lightning_compress.callbacks.hooks.validation.validated`, on every rank with its part of the data.

    To be called on rank 0, in the work of :func:`led_by_rank_zero`. The weights of rank 0 are validated. A mean, least
    or largest value is that over all ranks. A sum is that over all ranks if it is logged with ``sync_dist=True``, else
    that of rank 0.

    Raises:
        CallbackError: the other ranks do not wait, a step fails on another rank, or the metric is not logged.
        SearchStoppedError: a process was asked to end.
        BaseException: what a step raised on this rank.
    """
    exchange = _led.get()
    if exchange is None:
        raise CallbackError(
            f"{monitor!r} can be validated by {trainer.world_size} processes only while all of them wait for it"
        )
    request = _Request(monitor, batches, _layout_of(module))
    _message(exchange, request)
    return _take_part(trainer, exchange, module, request)


def _lead(exchange: Exchange, work: Callable[[], None]) -> None:
    token, failure = _led.set(exchange), None
    try:
        work()
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        _led.reset(token)
        _message(exchange, _End(failure))


def _follow(trainer: Trainer, exchange: Exchange) -> None:
    """Carry out the requests of rank 0 until its work has ended; the module is restored then."""
    interrupt: BaseException | None = None
    with torch.inference_mode(False), ExitStack() as until_end:
        prepare = _Preparation(trainer.lightning_module, until_end)
        while isinstance(message := _message(exchange), _Request):
            interrupt = _interrupt_during(trainer, exchange, message, prepare) or interrupt
    if interrupt is not None:
        raise interrupt
    if isinstance(message, _End) and message.failure is not None:
        raise CallbackError(f"rank 0 failed, so this rank stops too. The error on rank 0: {message.failure}")


def _message(exchange: Exchange, own: _Request | _End | None = None) -> _Request | _End | None:
    """The message of rank 0; the others send none."""
    return exchange.objects(own)[0]


def _interrupt_during(
    trainer: Trainer, exchange: Exchange, request: _Request, prepare: Callable[[], None]
) -> BaseException | None:
    """Carry out a request; an interrupt is returned, to be raised when rank 0 asks for nothing more."""
    try:
        _take_part(trainer, exchange, trainer.lightning_module, request, prepare)
    except Exception as error:  # rank 0 raises it, too
        _log.debug("a validation failed: %s", error)
    except BaseException as error:
        return error
    return None


class _Preparation:
    """Sets up the module of a rank other than 0 for each validation, as a search does with that of rank 0."""

    def __init__(self, module: nn.Module, until_end: ExitStack) -> None:
        self._module, self._until_end = module, until_end
        self._snapshot: ModuleSnapshot | None = None

    def __call__(self) -> None:
        if self._snapshot is None:
            self._snapshot = self._until_end.enter_context(preserved_module(self._module))
        self._snapshot.restore()
        self._module.eval()


def _take_part(
    trainer: Trainer,
    exchange: Exchange,
    module: nn.Module,
    request: _Request,
    prepare: Callable[[], None] = lambda: None,
) -> float:
    """Validate on this rank; the value over all ranks."""
    lightning_module, monitor = cast(LightningModule, module), request.monitor

    def check() -> None:
        prepare()
        if _layout_of(module) != request.layout:
            raise CallbackError("the module has other parameters and buffers here than on rank 0")

    _on_all(exchange, check)
    with torch.no_grad():
        for tensor in _tensors_of(module):
            exchange.receive(tensor)
        with isolated(lightning_module) as captured:
            _on_all(exchange, lambda: validate_batches(trainer, lightning_module, captured, request.batches))
            _on_all(exchange, lambda: conclude(lightning_module, captured))
            parts = _on_all(exchange, lambda: captured.part(monitor))
            needs_all = trainer.is_global_zero or parts[0].is_metric
            return _on_all(exchange, lambda: captured.value(monitor, parts) if needs_all else math.nan)[0]


def _on_all(exchange: Exchange, step: Callable[[], _T]) -> list[_T]:
    """The results of a step on every rank.

    Raises:
        BaseException: the step's own, on the rank where it failed.
        SearchStoppedError: another process was asked to end.
        CallbackError: another rank failed.
    """
    outcome, own = _attempted(step)
    outcomes = exchange.objects(outcome)
    if own is not None:
        raise own
    for rank, other in enumerate(outcomes):
        if other.failure is not None:
            kind = SearchStoppedError if other.is_stop else CallbackError
            raise kind(f"the validation failed on rank {rank}: {other.failure}")
    return [cast(_T, other.result) for other in outcomes]


def _attempted(step: Callable[[], _T]) -> tuple[_Outcome[_T], BaseException | None]:
    try:
        return _Outcome(step()), None
    except BaseException as error:
        is_stop = isinstance(error, SearchStoppedError) or not isinstance(error, Exception)
        return _Outcome(None, f"{type(error).__name__}: {error}", is_stop), error


def _tensors_of(module: nn.Module) -> Sequence[Tensor]:
    tensors = (*module.parameters(), *module.buffers())
    return [tensor.data for tensor in tensors if not nn.parameter.is_lazy(tensor) and tensor.numel()]


def _layout_of(module: nn.Module) -> _Layout:
    return [(tuple(tensor.shape), str(tensor.dtype)) for tensor in _tensors_of(module)]
