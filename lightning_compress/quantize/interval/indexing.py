"""From weights to indices: pruned ones are ZERO, those that no index holds are outliers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload
from lightning_compress.quantize.quantizer import Storage
from lightning_compress.weights import chunks, true_positions

_NOTHING = Codebook(0.0, 0.0, 0)


def index(
    tensor: Tensor, codebook: Codebook, indices: Callable[[Tensor], Tensor], storage: Storage, pruned: Tensor | None
) -> IndexedPayload:
    """The payload of one tensor, by the nesting of the reference paper (section 3.4).

    Args:
        tensor: floating-point weights of any shape.
        codebook: what the indices stand for.
        indices: a piece of the weights, ``[m]`` → ``[m]`` int32 indices into the codebook, OUTLIER among them.
        storage: for the outliers.
        pruned: ``[n]``, bool; None where no weight is pruned.
    """
    result = torch.empty(tensor.numel(), dtype=codebook.index_dtype)
    outliers = [tensor.new_empty(0)]
    start = 0
    for chunk in chunks(tensor):
        end = start + len(chunk)
        part = indices(chunk)
        if pruned is not None:
            part[true_positions(pruned[start:end])] = codebook.zero
        outliers.append(chunk[true_positions(part == codebook.outlier)])
        result[start:end] = part
        start = end
    return IndexedPayload(result, codebook, storage.store(torch.cat(outliers)), tuple(tensor.shape), tensor.dtype)


def index_pruned(tensor: Tensor, storage: Storage, pruned: Tensor) -> IndexedPayload:
    """The payload of a tensor that is pruned and not quantized: every weight that survives is an outlier."""
    return index(tensor, _NOTHING, _all_outliers, storage, pruned)


def _all_outliers(weights: Tensor) -> Tensor:
    return torch.full(weights.shape, _NOTHING.outlier, dtype=torch.int32)
