"""How many threads work on the tensors of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from lightning_compress.runtime import worker_count, workers_in_little_memory
from lightning_compress.weights.deferred import DeferredTensor

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


def batches(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, small ones together: a thread takes no longer to start than its work does."""
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
