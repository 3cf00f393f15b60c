"""Random number generators left as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put the random state of Python, NumPy and torch (CPU and CUDA) back afterwards, also after an error.

    A hook of the user's module, an evaluation or a logger may draw random numbers where a run without it would draw
    none.
    """
    restore = snapshot_random_state()
    try:
        yield
    finally:
        restore()


def snapshot_random_state() -> Callable[[], None]:
    """Note the random state of now; calling what is returned, as often as wanted, brings it back."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # A process that has not used CUDA yet has no state there, and asking for it would start it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return restore
