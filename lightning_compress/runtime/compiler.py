"""Whether loops can be compiled here, and for how few types of arrays."""

from __future__ import annotations

import logging
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.garbage import collection_paused

Element = TypeVar("Element", bound=np.generic)
_LARGE = 1 << 17
_log = logging.getLogger(__name__)


@cache
def has_compiler() -> bool:
    """Whether numba is installed and can be loaded; where it is not, arrays take the place of compiled loops.

    A process with too little memory cannot load it.
    """
    try:
        with collection_paused():
            import numba  # noqa: F401
    except (ImportError, OSError, MemoryError) as error:
        _log.info("numba cannot be loaded (%s), so files are read and written several times slower", error)
        return False
    return True


def has_compiler_for(elements: int) -> bool:
    """Whether loops for large arrays are compiled: where there are so many elements that they pay for it."""
    return elements > _LARGE and has_compiler()


def loops_take(values: Tensor) -> bool:
    """Whether loops for float32 values of the CPU take a tensor, and pay for their compilation."""
    is_float = values.dtype == torch.float32 and values.device.type == "cpu"
    return is_float and has_compiler_for(values.numel())


def read_only(array: NDArray[Element]) -> NDArray[Element]:
    """A view that cannot be written to; loops are compiled once for such arrays, and not for writable ones besides."""
    view: NDArray[Element] = array.view()
    view.flags.writeable = False
    return view
