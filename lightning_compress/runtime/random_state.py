"""Snapshot and restoration of the random state of Python, NumPy and torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """A context that restores the random state of Python, NumPy and torch (CPU and CUDA), also after an error.

    Code of the user or of a logger that runs inside may draw random numbers without changing the training run.
    """
    restore = snapshot_random_state()
    try:
        yield
    finally:
        restore()


def snapshot_random_state() -> Callable[[], None]:
    """Save the random state; returns a function that restores it, and may be called any number of times."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # Reading the state would initialise CUDA in a process that does not use it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return restore
