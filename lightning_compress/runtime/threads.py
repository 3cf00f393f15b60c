"""Threads of torch and of numpy while tensors are worked on a cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Run operations of torch and matrix products of numpy on one core, and restore the settings.

    Each operation takes some microseconds: sharing it among cores gains little on an idle machine, and on a busy one
    (a training run with its data workers) waiting for the other core makes it ten times slower. On one core sums are
    added in one order, too: how many cores a machine has does not change what is written.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own that are loaded: found once, since looking takes milliseconds."""
    return ThreadpoolController()
