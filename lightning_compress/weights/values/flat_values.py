"""The values of a tensor as bytes, or in chunks that fit in the cache.

An operator of torch gives up the interpreter's lock, even where it only makes a view, and then waits for the thread
that took it. So no operator is called that would change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.runtime.compiler import loops_take
from lightning_compress.weights.deferred import DeferredTensor

_CHUNK = 1 << 18
_KNOWN = {torch.float32, torch.uint8, torch.uint16}  # the most frequent ones of those that NumPy has


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in order, in flat chunks on the CPU."""
    if isinstance(tensor, DeferredTensor) and tensor.parts is not None:
        yield from tensor.parts()
        return
    flat = flattened(tensor)
    for chunk in (flat,) if flat.numel() <= _CHUNK else torch.split(flat, _CHUNK):
        yield on_cpu(chunk)


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in order: all at once where they are in memory and compiled loops take them as they are.

    Else in chunks.
    """
    if not isinstance(tensor, DeferredTensor) and loops_take(tensor):
        yield flattened(tensor)
    else:
        yield from chunks(tensor)


def flattened(tensor: Tensor) -> Tensor:
    """``[n]``: the values of a tensor where they are, apart from its gradient."""
    values = _values(tensor)
    return values if values.dim() == 1 else values.reshape(-1)


def on_cpu(tensor: Tensor) -> Tensor:
    """The values of a tensor on the CPU, apart from its gradient."""
    values = _values(tensor)
    return values if values.device.type == "cpu" else values.cpu()


def _values(tensor: Tensor) -> Tensor:
    return tensor if type(tensor) is Tensor and not tensor.requires_grad else tensor.detach()


def true_positions(mask: Tensor) -> Tensor:
    """Indices where a flat CPU mask is true; for sparse masks several times faster than ``nonzero``."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def as_bytes(tensor: Tensor) -> Tensor:
    """The values of a tensor of any dtype as one flat ``uint8`` tensor; a contiguous CPU tensor is not copied."""
    return torch.from_numpy(byte_array(tensor))


def byte_array(tensor: Tensor) -> NDArray[np.uint8]:
    """As :func:`as_bytes`, for NumPy."""
    flat = flattened(tensor)
    if flat.device.type != "cpu" or flat.dtype.is_complex or (flat.dtype.is_floating_point and flat.is_neg()):
        flat = flat.cpu().resolve_conj().resolve_neg()
    # A tensor of one element counts as contiguous whatever its stride is.
    flat = flat if flat.stride() == (1,) else flat.clone(memory_format=torch.contiguous_format)
    if flat.dtype in _KNOWN:
        return flat.numpy().view(np.uint8)
    array: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return array
