"""Objects and tensors sent between processes, over connections of their own.

The trainer's own process group is not used: its timeout is shorter than a search, and Lightning's handler of SIGTERM
sends a tensor through it, which may come at any time. For the same handler a process that waits runs Python code.
"""

from __future__ import annotations

import logging
import pickle
import time
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

_T = TypeVar("_T")
_TIMEOUT = timedelta(days=1)  # longer than any search; a connection that ends is noticed at once
_PAUSE = 0.002  # seconds between two looks at whether the others have come
_log = logging.getLogger(__name__)
_known: list[tuple[object, Exchange | None]] = []  # the exchange beside each process group of a trainer


class Exchange:
    """Sends between all processes. Each method is to be called on every rank, in the same order.

    Args:
        group: of the processes, with a backend for tensors in main memory.
        ranks: the number of processes.

    Attributes:
        ranks: the number of processes.
        rank: of this process.
    """

    def __init__(self, group: dist.ProcessGroup, ranks: int) -> None:
        self._group, self.ranks, self.rank = group, ranks, dist.get_rank()

    def objects(self, own: _T) -> list[_T]:
        """The objects of all ranks, in their order. They are pickled."""
        content = torch.frombuffer(bytearray(pickle.dumps(own)), dtype=torch.uint8)
        sizes = [int(size) for size in self._gathered(torch.tensor([len(content)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(content)] = content
        return [
            pickle.loads(part[:size].numpy().tobytes())
            for part, size in zip(self._gathered(padded), sizes, strict=True)
        ]

    def receive(self, tensor: Tensor) -> None:
        """Copy the values of the tensor of rank 0 into that of every rank."""
        values = tensor.detach().cpu().contiguous()
        _wait(dist.broadcast(values.reshape(-1).view(torch.uint8), src=0, group=self._group, async_op=True))
        if values.data_ptr() != tensor.data_ptr():
            tensor.copy_(values)

    def _gathered(self, own: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(own) for _ in range(self.ranks)]
        _wait(dist.all_gather(parts, own, group=self._group, async_op=True))
        return parts


def can_exchange() -> bool:
    """Whether the processes of this training are connected by ``torch.distributed``."""
    return dist.is_available() and dist.is_initialized()


def exchange_of(ranks: int) -> Exchange | None:
    """The exchange between all processes, made when it is first asked for. To be called on every rank.

    Args:
        ranks: the number of processes.

    Returns:
        The exchange; None, with one line in the log, if the processes cannot be connected.
    """
    world = dist.group.WORLD
    for group, known in _known:
        if group is world:
            return known
    made: Exchange | None = None
    with suppress(RuntimeError, ValueError):
        made = Exchange(dist.new_group(backend="gloo", timeout=_TIMEOUT), ranks)
    have = [False] * ranks
    dist.all_gather_object(have, made is not None)
    if not all(have) and dist.get_rank() == 0:
        _log.error("the processes cannot be connected by gloo, so they cannot validate together")
    _known.append((world, made if all(have) else None))
    return _known[-1][1]


def _wait(work: dist.Work) -> None:
    """Wait until an operation is complete; handlers of signals run meanwhile."""
    while not work.is_completed():
        time.sleep(_PAUSE)
    work.wait()
