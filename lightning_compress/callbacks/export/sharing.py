"""Sharded weights that all ranks compress: each codes a part of the tensors, and rank 0 joins them into one file.

Rank 0 leads, and the others serve its requests: to put a tensor together from the shards of all ranks, or to code
tensors. So rank 0 never holds the whole model, and the bytes are those of an export by one process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from lightning_compress.callbacks.hooks.collective import is_distributed_tensor, whole_tensor
from lightning_compress.callbacks.hooks.exchange import Exchange, can_exchange, exchange_of
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.compression import CodedTensor, TensorWork
from lightning_compress.errors import CallbackError
from lightning_compress.runtime import limited_workers, one_thread, preserved_random_state
from lightning_compress.weights import DeferredTensor, Weight, contiguous_strides

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Complete:
    """Put a tensor together."""

    name: str


@dataclass(frozen=True, eq=False)
class _Code:
    """Code tensors: each is put together, and coded by its owner."""

    work: Sequence[tuple[int, TensorWork]]  # of tensors that are sharded, with their owners


@dataclass(frozen=True)
class _End:
    """Serve no more."""


@dataclass(frozen=True)
class _Failed:
    """What has failed on a rank."""

    text: str


class SharedWeights:
    """A state dict of which each rank holds shards.

    Args:
        state: that of this rank.
        exchange: between all ranks.
        device: of this rank.

    Attributes:
        state: on rank 0, tensors that are put together each time that their values are needed, in :meth:`led` alone.
    """

    def __init__(self, state: Mapping[str, Any], exchange: Exchange, device: torch.device) -> None:
        self._shards = {name: value for name, value in state.items() if is_distributed_tensor(value)}
        self._exchange, self._device = exchange, device
        self._is_led = False
        self.state = {name: self._deferred(name) if name in self._shards else value for name, value in state.items()}

    def led(self, work: Callable[[], _T]) -> _T | None:
        """Do work on rank 0, where the other ranks serve it meanwhile. To be called on every rank.

        Returns:
            What the work returns; None on the other ranks.

        Raises:
            CallbackError: another rank has failed; on that rank the error is logged.
        """
        if self._exchange.rank:
            with preserved_random_state(), torch.no_grad(), limited_workers(1):
                self._serve()
            return None
        self._is_led = True
        try:
            return work()
        finally:
            if self._is_led:
                self._is_led = False
                self._exchange.objects(_End())

    def coded(self, weights: Sequence[Weight], work: Sequence[TensorWork]) -> Iterator[CodedTensor]:
        """The coded tensors, in order. On rank 0, in :meth:`led`.

        Args:
            weights: made of :attr:`state`.
            work: for each.
        """
        shared = [self.state.get(each.name) is each.tensor and each.name in self._shards for each in weights]
        sharded = [number for number, is_shared in enumerate(shared) if is_shared]
        owners = self._owners([weights[number].tensor.nbytes for number in sharded])
        request = _Code([(owner, work[number]) for owner, number in zip(owners, sharded, strict=True)])
        # Buffers, and weights that masks were merged into; what they are made of is requested tensor by tensor.
        others = {
            each.name: task.coded(each.tensor.detach())
            for each, task, is_shared in zip(weights, work, shared, strict=True)
            if not is_shared
        }
        self._meet(request)
        together = self._coded_together(request)
        for weight in weights:
            yield others[weight.name] if weight.name in others else next(together)

    def _deferred(self, name: str) -> DeferredTensor:
        shard = self._shards[name]

        def make() -> Tensor:
            if not self._is_led:
                raise CallbackError(f"the shards of {name!r} are no longer held for this export")
            self._meet(_Complete(name))
            return self._complete(name, 0)

        return DeferredTensor(make, shard.dtype, shard.shape, contiguous_strides(shard.shape))

    def _complete(self, name: str, rank: int) -> Tensor:
        """The whole tensor in main memory, on a rank. To be called on every rank."""
        return whole_tensor(self._shards[name], rank, self._device).detach().cpu().contiguous()

    def _owners(self, nbytes: Sequence[int]) -> list[int]:
        """The rank that codes each tensor: the one with the fewest bytes until then."""
        loads, owners = [0] * self._exchange.ranks, []
        for size in nbytes:
            owners.append(loads.index(min(loads)))
            loads[owners[-1]] += size
        return owners

    def _coded_together(self, request: _Code) -> Iterator[CodedTensor]:
        """The tensors of a request, in order, on every rank. A thread codes while the next tensors are put together."""
        own: dict[str, Future[CodedTensor]] = {}
        executor = ThreadPoolExecutor(1, "lightning-compress")
        try:
            for owner, work in request.work:
                self._step(None)
                values = self._complete(work.weight.name, owner)
                if owner == self._exchange.rank:
                    own[work.weight.name] = executor.submit(_code, work, values)
                del values
            for owner, work in request.work:
                found: CodedTensor | None = own.pop(work.weight.name).result() if owner == self._exchange.rank else None
                yield self._step(found)[owner]
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _serve(self) -> None:
        """Do what rank 0 requests, until it has no more requests or a rank fails."""
        try:
            while not isinstance(request := self._meet(None)[0], _End):
                if isinstance(request, _Complete):
                    self._complete(request.name, 0)
                else:
                    for _ in self._coded_together(request):
                        pass
        except _RankFailedError:
            pass  # rank 0 reports it
        except Exception as error:
            _log.error("rank %d could not help to export: %s: %s", self._exchange.rank, type(error).__name__, error)
            self._exchange.objects(_Failed(f"{type(error).__name__}: {error}"))

    def _step(self, own: object) -> list[Any]:
        """As :meth:`_meet`, within a request.

        Raises:
            _RankFailedError: a rank has failed, or rank 0 has ended the request, which it does when it fails.
        """
        objects = self._meet(own)
        if isinstance(objects[0], _End):
            raise _RankFailedError("rank 0 has ended the export")
        return objects

    def _meet(self, own: object) -> list[Any]:
        """The objects of all ranks.

        Raises:
            _RankFailedError: a rank has failed.
        """
        objects = self._exchange.objects(own)
        for rank, each in enumerate(objects):
            if isinstance(each, _Failed):
                self._is_led = False  # the others serve no more
                raise _RankFailedError(f"rank {rank} failed: {each.text}")
        return objects


class _RankFailedError(CallbackError):
    """Another rank has failed."""


def _code(work: TensorWork, values: Tensor) -> CodedTensor:
    with one_thread(), limited_workers(1):
        return work.coded(values)


def shared_weights(trainer: Trainer, state: Mapping[str, Any]) -> SharedWeights | None:
    """The weights that are saved, to be compressed by all ranks; None if no tensor of them is sharded, or they cannot.

    To be called on every rank.

    Args:
        trainer: that saves them.
        state: the state dict of this rank.
    """
    if not any(map(is_distributed_tensor, state.values())) or not can_exchange():
        return None
    exchange = exchange_of(trainer.world_size)
    return None if exchange is None else SharedWeights(state, exchange, trainer.strategy.root_device)
