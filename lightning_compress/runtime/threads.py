"""Limits torch and NumPy to one thread while tensors are processed in cache-sized chunks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch operators and NumPy matrix products use one core; restores the settings.

    Each operation takes a few microseconds. More threads gain little on an idle machine, and on a busy one (a training
    run with its data workers) waiting for them makes an operation ten times slower. One thread also adds in one fixed
    order, so the written bytes do not depend on the number of cores.
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
    """The loaded libraries that have thread pools; cached, because finding them takes milliseconds."""
    return ThreadpoolController()
