"""How many threads work on the tensors of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from torch import Tensor

from lightning_compress.runtime import in_order, worker_count, workers_in_little_memory
from lightning_compress.weights.deferred import DeferredTensor

Result = TypeVar("Result")

_WEIGHTS_PER_WORKER = 1 << 18
_BATCH = 1 << 20  # weights


def tensor_workers(tensors: Sequence[Tensor]) -> int:
    """Few for a small model, which takes no longer than starting them pays for; one for an accelerator.

    Of tensors whose values are read or computed when they are needed, few are in memory at a time.
    """
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return 1
    workers = min(worker_count(), sum(tensor.numel() for tensor in tensors) // _WEIGHTS_PER_WORKER)
    if any(isinstance(tensor, DeferredTensor) and tensor.parts is None for tensor in tensors):
        # The model may exceed the memory.
        workers = min(workers, workers_in_little_memory(tensor.nbytes for tensor in tensors))
    return max(1, workers)


def in_tensor_order(function: Callable[[int], Result], tensors: Sequence[Tensor]) -> Iterator[Result]:
    """``function`` of the number of each tensor, in their order, several at a time.

    Of tensors in memory the largest are begun first, and more results wait for their turn.
    """
    in_memory = not any(isinstance(tensor, DeferredTensor) for tensor in tensors)
    size = (lambda number: tensors[number].nbytes) if in_memory else None
    return in_order(function, range(len(tensors)), tensor_workers(tensors), size=size)


def in_batches(function: Callable[[list[Tensor]], Result], tensors: Sequence[Tensor]) -> Iterator[Result]:
    """A small result for each batch of tensors, in their order, several at a time.

    A batch holds small tensors together: a thread takes no longer to start than its work does.
    """
    return in_order(function, _batches(tensors), tensor_workers(tensors), size=_nbytes)


def in_groups(function: Callable[[int], Result], groups: Sequence[Sequence[Tensor]]) -> Iterator[Result]:
    """A small result for the number of each group of tensors, in their order.

    Several groups are worked on at a time, each by one thread. Where one has more than half of the bytes, the groups
    follow each other, and the function may use all threads.
    """
    nbytes = [sum(tensor.nbytes for tensor in group) for group in groups]
    alike = 2 * max(nbytes, default=0) <= sum(nbytes)
    workers = tensor_workers([tensor for group in groups for tensor in group]) if alike else 1
    return in_order(function, range(len(groups)), workers, size=nbytes.__getitem__)


def _nbytes(tensors: list[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _batches(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    weights = 0
    for tensor in tensors:
        batch.append(tensor)
        weights += tensor.numel()
        if weights >= _BATCH:
            yield batch
            batch, weights = [], 0
    if batch:
        yield batch
