"""Threads that work on several tensors at once.

Results come in the order of the items, so nothing that is written depends on how many threads there are. Compiled
loops, checksums and the operators of NumPy and torch run without the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from operator import itemgetter
from typing import Generic, TypeVar

from lightning_compress.runtime.threads import one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
_LITTLE_BYTES = 1 << 27
_AHEAD = 2  # items that are begun beside one for each worker
_MANY_BYTES = 1 << 28
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


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    *,
    size: Callable[[Item], int] | None = None,
) -> Iterator[Result]:
    """``function`` of each item, in their order, several at a time.

    At most two items more than there are workers are begun before the first result is taken; with ``size`` as many as
    have 256 MiB together. An error is raised where its result would be; what is begun by then is waited for.

    Args:
        function: called in any thread, with torch and NumPy limited to one core each.
        items: taken in the calling thread.
        workers: number of threads; by default :func:`worker_count`. With one, the calling thread does everything.
        size: bytes of an item, where many results can be in memory at once. The largest items are then begun first, so
            that none is left for one thread at the end, and one thread takes the smallest: these keep the interpreter
            busy, and large ones hardly do.
    """
    workers = worker_count() if workers is None else workers
    if workers == 1:
        yield from map(function, items)
        return

    def work(item: Item) -> Result:
        with one_thread(), limited_workers(1):
            return function(item)

    executor = ThreadPoolExecutor(workers, "lightning-compress")
    queue = _Queue(executor, work)
    pending: deque[tuple[Future[Result], int]] = deque()
    nbytes = 0
    try:
        for item in items:
            of_item = _MANY_BYTES if size is None else size(item)  # any two exceed what may wait
            pending.append((queue.add(item, of_item), of_item))
            nbytes += of_item
            while len(pending) >= workers + _AHEAD and nbytes > _MANY_BYTES:
                future, taken = pending.popleft()
                nbytes -= taken
                yield future.result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Queue(Generic[Item, Result]):
    """Items that wait for a thread: in their order where all are equally large.

    Args:
        executor: whose threads do the work.
        work: what is done with an item.
    """

    def __init__(self, executor: ThreadPoolExecutor, work: Callable[[Item], Result]) -> None:
        self._executor = executor
        self._work = work
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int, Item, Future[Result]]] = []  # ascending
        self._takes_smallest = False  # a thread is at work that took the smallest item
        self._added = 0

    def add(self, item: Item, nbytes: int) -> Future[Result]:
        """The result of an item, which waits from now on."""
        future: Future[Result] = Future()
        with self._lock:
            insort(self._waiting, (nbytes, -self._added, item, future), key=itemgetter(0, 1))
            self._added += 1
        self._executor.submit(self._take)
        return future

    def _take(self) -> None:
        """Do the work for one item."""
        with self._lock:
            smallest = not self._takes_smallest and self._waiting[0][0] < self._waiting[-1][0]
            self._takes_smallest |= smallest
            _, _, item, future = self._waiting.pop(0 if smallest else -1)
        try:
            future.set_result(self._work(item))
        except BaseException as error:
            future.set_exception(error)
        finally:
            if smallest:
                self._takes_smallest = False


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
