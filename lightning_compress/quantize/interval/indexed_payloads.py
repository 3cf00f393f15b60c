"""From the indices of weights to a payload: pruned weights have the index ZERO, outliers are stored apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload
from lightning_compress.quantize.payload import positions_of
from lightning_compress.quantize.quantizer import Storage
from lightning_compress.runtime import empty
from lightning_compress.runtime.compiler import has_compiler_for, read_only
from lightning_compress.weights import pieces

_NO_VALUES = Codebook(0.0, 0.0, 0)


def payload_from_indices(
    tensor: Tensor, codebook: Codebook, indices: Callable[[Tensor], Tensor], storage: Storage, pruned: Tensor | None
) -> IndexedPayload:
    """The payload of one tensor, by the nesting of the reference paper (section 3.4).

    Args:
        tensor: floating-point weights of any shape.
        codebook: what the indices stand for.
        indices: function of some of the weights, ``[m]`` → ``[m]`` whole indices into the codebook, or OUTLIER.
        storage: for the outliers.
        pruned: ``[n]``, bool; None where no weight is pruned.
    """
    result = empty([tensor.numel()], codebook.index_dtype)
    found, marks = result.numpy(), None if pruned is None else pruned.numpy()
    outliers: list[Tensor] = []
    start = 0
    for piece in pieces(tensor):
        part = found[start : start + piece.numel()]
        part[:] = indices(piece).numpy()
        if marks is not None:
            _mark(part, marks[start : start + len(part)], codebook.zero)
        outliers.append(piece[positions_of(part == codebook.outlier)])
        start += len(part)
    stored = storage.store(outliers[0] if len(outliers) == 1 else torch.cat(outliers))
    return IndexedPayload(result, codebook, stored, tuple(tensor.shape), tensor.dtype)


def _mark(indices: NDArray[np.integer[Any]], marked: NDArray[np.bool_], index: int) -> None:
    """Put one index in the place of those that are marked."""
    if has_compiler_for(len(indices)):
        from lightning_compress.quantize.interval.loops import mark

        mark(indices, read_only(marked), index)
    else:
        np.putmask(indices, marked, index)


def store_pruned(tensor: Tensor, storage: Storage, pruned: Tensor) -> IndexedPayload:
    """The payload of a tensor that is pruned and not quantized: every weight that is not pruned is an outlier."""
    return payload_from_indices(tensor, _NO_VALUES, _all_outliers, storage, pruned)


def _all_outliers(weights: Tensor) -> Tensor:
    return torch.full(weights.shape, _NO_VALUES.outlier, dtype=_NO_VALUES.index_dtype)
