"""Threads that work on several tensors at once.

Results come in the order of the items, so nothing that is written depends on how many threads there are. Compiled
loops, checksums and the operators of NumPy and torch run without the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import TypeVar

from lightning_compress.runtime.threads import one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
_LITTLE_BYTES = 1 << 27
_AHEAD = 2  # items that are begun beside one for each worker
_MOST = 16  # more gain little: tensors differ in size, and share one memory


class _Limit(threading.local):
    """How many workers the calling thread may use; None for as many as there are cores."""

    number: int | None = None


_limit = _Limit()


def worker_count() -> int:
    """How many threads :func:`in_order` uses by default: one for each core that the process may use, 16 at most."""
    if _limit.number is not None:
        return _limit.number
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST)


def workers_in_little_memory(nbytes: Iterable[int]) -> int:
    """How many threads keep the items that :func:`in_order` has begun within twice the largest one and 128 MiB.

    Args:
        nbytes: size of each item.
    """
    largest = sorted(nbytes, reverse=True)
    allowed = 2 * sum(largest[:1]) + _LITTLE_BYTES
    begun = sum(total <= allowed for total in accumulate(largest[: worker_count() + _AHEAD]))
    return max(1, min(worker_count(), begun - _AHEAD)) if begun < len(largest) else worker_count()


@contextmanager
def limited_workers(number: int) -> Iterator[None]:
    """A block in which :func:`in_order`, called by this thread, uses at most so many threads.

    Beside a training one is enough: more would take the cores from its data loaders.
    """
    before = _limit.number
    _limit.number = min(number, worker_count())
    try:
        yield
    finally:
        _limit.number = before


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """``function`` of each item, in their order, several at a time.

    At most two items more than there are workers are begun before the first result is taken. An error is raised where
    its result would be; what is begun by then is waited for.

    Args:
        function: called in any thread, with torch and NumPy limited to one core each.
        items: taken in the calling thread.
        workers: number of threads; by default :func:`worker_count`. With one, the calling thread does everything.
    """
    workers = worker_count() if workers is None else workers
    if workers == 1:
        yield from map(function, items)
        return

    def work(item: Item) -> Result:
        with one_thread(), limited_workers(1):
            return function(item)

    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(workers, "lightning-compress")
    try:
        for item in items:
            pending.append(executor.submit(work, item))
            if len(pending) == workers + _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def beside(function: Callable[[], Result], *, in_thread: bool = True) -> Iterator[Callable[[], Result]]:
    """A block beside which a function is called in a thread of its own; the block gets what returns its result.

    A block that ends early does not wait: the function runs to its end, and its result is lost.

    Args:
        function: called once, with torch and NumPy limited to one core.
        in_thread: False, or a calling thread that may use one worker: the function is called where its result is.
    """
    if not in_thread or worker_count() == 1:
        yield function
        return

    def work() -> Result:
        with one_thread(), limited_workers(1):
            return function()

    executor = ThreadPoolExecutor(1, "lightning-compress")
    try:
        yield executor.submit(work).result
    finally:
        executor.shutdown(wait=False)
