"""Torch threads while tensors are worked on a cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch operations of the calling thread on one core, and restore the setting.

    Each operation takes some microseconds: sharing it among cores gains little on an idle machine, and on a busy one
    (a training run with its data workers) waiting for the other core makes it ten times slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
