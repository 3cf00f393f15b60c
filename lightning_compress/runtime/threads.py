"""Limits torch and NumPy to one thread while tensors are processed in cache-sized chunks.

Number of threads of torch: every thread has its own (in OpenMP, and in MKL where torch uses it), and a new thread takes
its own from a default of the process. ``torch.set_num_threads`` sets the calling thread's and the default, so a thread
that begins while the default is 1 would stay at one core. Therefore only the calling thread's numbers are set here, by
the functions of OpenMP and MKL.

Number of threads of NumPy's BLAS: one for the whole process. It is 1 while any thread is in a block.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import Protocol

import torch
from threadpoolctl import ThreadpoolController

Number = tuple[Callable[[], int], Callable[[int], object]]  # a number of threads: getter and setter


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch operators and NumPy matrix products of this thread use one core.

    Each operation takes a few microseconds. More threads gain little on an idle machine, and on a busy one (a training
    run with its data workers) waiting for them makes an operation ten times slower. One thread also adds in one fixed
    order, so the written bytes do not depend on the number of cores.

    Blocks may be nested, and may overlap in any order and in any number of threads. When the last one has ended, every
    thread has the numbers that it had before, and new threads have those of the process.
    """
    with _applied(_this_thread.limit), _applied(_process):
        yield


class _Limit:
    """A limit that the first of several blocks sets and the last one removes.

    Attributes:
        blocks: how many blocks are open.
        restore: removes the limit; None while it is not set.
    """

    def __init__(self, apply: Callable[[], Callable[[], None]], thread: int | None = None) -> None:
        self._apply = apply
        self._thread = thread  # the only thread that can set and remove the limit; None for any
        self.blocks = 0
        self.restore: Callable[[], None] | None = None

    def enter(self) -> None:
        """Begin a block."""
        self.blocks += 1
        if self.restore is None:
            self.restore = self._apply()

    def leave(self) -> None:
        """End a block. A generator may end it in another thread; the limit then stays until the next block ends."""
        self.blocks -= 1
        if self.blocks == 0 and self.restore is not None and self._thread in (None, threading.get_ident()):
            restore, self.restore = self.restore, None
            restore()


class _ThisThread(threading.local):
    """The limit of torch in the calling thread."""

    def __init__(self) -> None:
        self.limit = _Limit(_limit_torch, threading.get_ident())


@contextmanager
def _applied(limit: _Limit) -> Iterator[None]:
    with _lock:
        limit.enter()
    try:
        yield
    finally:
        with _lock:
            limit.leave()


def _limit_torch() -> Callable[[], None]:
    torch.get_num_threads()  # in a new thread this takes the default of the process, which must not come later
    return _limited([*_openmp(), *_mkl_of_torch()])


def _limit_blas() -> Callable[[], None]:
    return _limited(_blas())


def _limited(numbers: Sequence[Number]) -> Callable[[], None]:
    """Set numbers of threads to 1; the result sets them back."""
    before = [(set_number, get_number()) for get_number, set_number in numbers]
    for set_number, _ in before:
        set_number(1)

    def restore() -> None:
        for set_number, number in before:
            set_number(number)

    return restore


class ThreadLibrary(Protocol):
    """A controller of threadpoolctl."""

    @property
    def filepath(self) -> str:
        """Of the library."""

    @property
    def user_api(self) -> str:
        """``blas`` or ``openmp``."""

    def get_num_threads(self) -> int:
        """Its number of threads."""

    def set_num_threads(self, num_threads: int) -> object:
        """Set that number."""


@cache
def _libraries() -> tuple[ThreadLibrary, ...]:
    """The loaded libraries that have thread pools; finding them takes milliseconds."""
    return tuple(ThreadpoolController().lib_controllers)


@cache
def _openmp() -> tuple[Number, ...]:
    return tuple((lib.get_num_threads, lib.set_num_threads) for lib in _libraries() if lib.user_api == "openmp")


@cache
def _blas() -> tuple[Number, ...]:
    # OpenBLAS that is built with OpenMP takes its number from there.
    own = (lib for lib in _libraries() if lib.user_api == "blas" and getattr(lib, "threading_layer", "") != "openmp")
    return tuple((lib.get_num_threads, _setter(lib)) for lib in own)


def _setter(library: ThreadLibrary) -> Callable[[int], object]:
    """The function that sets a BLAS library's number; that of threadpoolctl obeys only one thread for OpenBLAS."""
    loaded, function = ctypes.CDLL(library.filepath), library.set_num_threads
    for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
        function = getattr(loaded, f"{prefix}openblas_set_num_threads{suffix}", function)
    setter: Callable[[int], object] = function
    return setter


@cache
def _mkl_of_torch() -> tuple[Number, ...]:
    """The calling thread's number in the MKL that torch is linked with, where it can be reached."""
    try:
        set_number = ctypes.CDLL(torch._C.__file__).MKL_Set_Num_Threads_Local  # returns the number before
    except (OSError, AttributeError):
        return ()
    return ((lambda: int(set_number(1)), set_number),)


def _after_fork_in_child() -> None:
    """Only the thread that forked goes on, so only its blocks are open."""
    _process.blocks = _this_thread.limit.blocks
    if _process.blocks == 0 and _process.restore is not None:
        restore, _process.restore = _process.restore, None
        restore()
    _lock.release()


_lock = threading.RLock()
_process = _Limit(_limit_blas)
_this_thread = _ThisThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
