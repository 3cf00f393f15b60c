"""One thread is used inside a block; afterwards every thread has the numbers that it had, whatever overlapped."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from each_case import naming
from threadpoolctl import threadpool_info, threadpool_limits

from lightning_compress.runtime import one_thread

_LIBRARIES = re.compile(r"[/\\](torch|numpy)(\.libs)?[/\\]")  # other packages have pools of their own
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def _numbers() -> set[int]:
    """The numbers of threads of torch, of its OpenMP in this thread, and of NumPy's BLAS."""
    numbers = {torch.get_num_threads()}  # a new thread takes the default of the process now
    return numbers | {one["num_threads"] for one in threadpool_info() if _LIBRARIES.search(one["filepath"])}


def _in_new_thread(function: Callable[[], object]) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    """Three threads are the setting of this process, of torch and of BLAS."""
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(3):
        yield
    torch.set_num_threads(usual)


def _expect_no_limit() -> None:
    assert _numbers() == {3}
    assert _in_new_thread(_numbers) == {3}


def test_a_block_has_one_thread_and_so_has_one_inside_it() -> None:
    with one_thread():
        assert _numbers() == {1}
        with one_thread():
            assert _numbers() == {1}
        assert _numbers() == {1}
    _expect_no_limit()


def test_a_number_of_the_thread_itself_is_restored() -> None:
    def work() -> tuple[int, int]:
        torch.set_num_threads(2)
        with one_thread():
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    assert _in_new_thread(work) == (1, 2)
    torch.set_num_threads(3)
    _expect_no_limit()


class _Worker(threading.Thread):
    """A thread that enters and leaves a block when it is told to."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._orders = {order: threading.Event() for order in ("enter", "leave", "end")}
        self._done = {order: threading.Event() for order in self._orders}
        self.numbers: list[int] = []

    def run(self) -> None:
        self._wait("enter")
        with one_thread():
            self.numbers.append(torch.get_num_threads())
            self._done["enter"].set()
            self._wait("leave")
        self.numbers.append(torch.get_num_threads())
        self._done["leave"].set()
        self._wait("end")
        self.numbers.append(torch.get_num_threads())

    def _wait(self, order: str) -> None:
        assert self._orders[order].wait(20)

    def tell(self, order: str) -> None:
        self._orders[order].set()
        if order != "end":
            assert self._done[order].wait(20)


def test_threads_that_overlap_in_any_order_leave_no_limit() -> None:
    """Also in threads that began inside the blocks, which take torch's default when they first compute."""
    sequences = [
        order
        for order in set(itertools.permutations(["enter 0", "enter 1", "leave 0", "leave 1"]))
        if all(order.index(f"enter {k}") < order.index(f"leave {k}") for k in (0, 1))
    ]
    for sequence in sorted(sequences):
        with naming(sequence):
            workers = [_Worker(), _Worker()]
            for worker in workers:
                worker.start()
            for step in sequence:
                order, k = step.split()
                workers[int(k)].tell(order)
                assert torch.get_num_threads() == 3
                assert _in_new_thread(torch.get_num_threads) == 3
            for worker in workers:
                worker.tell("end")
                worker.join(20)
                assert worker.numbers == [1, 3, 3]
            _expect_no_limit()


def test_an_error_inside_ends_the_block() -> None:
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    _expect_no_limit()


def test_generators_that_end_in_any_order_leave_no_limit() -> None:
    def limited() -> Iterator[None]:
        with one_thread():
            yield

    for last_first in (True, False):
        first, second = limited(), limited()
        next(first)
        next(second)
        for generator in (second, first) if last_first else (first, second):
            assert _numbers() == {1}
            generator.close()
        _expect_no_limit()


def test_a_generator_that_another_thread_ends_changes_no_number_there() -> None:
    def limited() -> Iterator[None]:
        with one_thread():
            yield

    generator = limited()
    next(generator)
    assert _in_new_thread(lambda: (generator.close(), torch.get_num_threads())[1]) == 3
    with one_thread():  # the first thread's limit ends with its next block
        pass
    _expect_no_limit()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_that_is_forked_while_others_are_inside_neither_hangs_nor_keeps_the_limit() -> None:
    """The main thread of the new process is in no block; the others do not exist there."""
    stop = threading.Event()

    def enter_and_leave() -> None:
        while not stop.is_set():
            with one_thread():
                pass

    worker, others = _Worker(), [threading.Thread(target=enter_and_leave) for _ in range(2)]
    for thread in (worker, *others):
        thread.start()
    worker.tell("enter")
    try:
        states = [_forked() for _ in range(5)]
    finally:
        stop.set()
        worker.tell("leave")
        worker.tell("end")
        for thread in (worker, *others):
            thread.join()
    assert states == [0] * 5
    _expect_no_limit()


def _forked() -> int:
    """The status of a new process that checks its numbers: 0 if they are right, 14 (SIGALRM) if it hangs."""
    import signal

    process = os.fork()
    if process == 0:
        signal.alarm(10)
        usual = _numbers() == {3}
        with one_thread():
            usual = usual and _numbers() == {1}
        os._exit(0 if usual and _numbers() == {3} else 1)
    return os.waitpid(process, 0)[1]
