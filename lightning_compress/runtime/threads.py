"""Limits torch and NumPy to one thread while tensors are processed in cache-sized chunks.

Number of threads in torch: each thread has its own (of OpenMP, and of MKL where torch uses it), and new threads take
theirs from a default of the process. ``torch.set_num_threads`` sets both, so a thread that starts at a bad moment would
keep the limit for good. Here only the numbers of the calling thread are set, by OpenMP's and MKL's own functions.

Number of threads in NumPy's BLAS: one for the whole process. It is 1 while any thread is inside a block, and set back
when the last one leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

Restore = Callable[[], object]


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch operators and NumPy matrix products of this thread use one core.

    Each operation takes a few microseconds. More threads gain little on an idle machine, and on a busy one (a training
    run with its data workers) waiting for them makes an operation ten times slower. One thread also adds in one fixed
    order, so the written bytes do not depend on the number of cores.

    Blocks may be nested and may overlap in any order, in one thread and in several. After the last one every thread,
    old or new, has the number of threads that it had without them.
    """
    with _torch_limit.applied(), _blas_limit.applied():
        yield


class _Limit:
    """A limit that is set when the first block begins and removed when the last one ends."""

    def __init__(self, limit: Callable[[], Restore]) -> None:
        self._limit = limit
        self._blocks = 0
        self._restore: Restore | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Begin a block."""
        if self._blocks == 0:
            self._restore = self._limit()
        self._blocks += 1

    def leave(self) -> None:
        """End a block."""
        self._blocks -= 1
        if self._blocks == 0 and self._restore is not None:
            self._restore()
