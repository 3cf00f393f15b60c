"""The values of a tensor as bytes, or in chunks that fit in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lightning_compress.runtime.compiler import loops_take
from lightning_compress.weights.deferred import DeferredTensor

_CHUNK = 1 << 18


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in order, in flat chunks on the CPU."""
    if isinstance(tensor, DeferredTensor) and tensor.parts is not None:
        yield from tensor.parts()
        return
    flat = tensor.detach().reshape(-1)
    for chunk in (flat,) if flat.numel() <= _CHUNK else torch.split(flat, _CHUNK):  # a split takes 10 µs
        yield chunk.cpu()


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in order: all at once where they are in memory and compiled loops take them as they are.

    Else in chunks.
    """
    if not isinstance(tensor, DeferredTensor) and loops_take(tensor):
        yield tensor.detach().reshape(-1)
    else:
        yield from chunks(tensor)


def true_positions(mask: Tensor) -> Tensor:
    """Indices where a flat CPU mask is true; for sparse masks several times faster than ``nonzero``."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def as_bytes(tensor: Tensor) -> Tensor:
    """The values of a tensor of any dtype as one flat ``uint8`` tensor; a contiguous CPU tensor is not copied."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # A tensor of one element counts as contiguous whatever its stride is.
    return (flat if flat.stride() == (1,) else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8)
