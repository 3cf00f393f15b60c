"""From codes and values to a payload: values that no weight uses go, the others are put in rising order."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_compress.quantize.codebook.payload import CodebookPayload, Scales, index_dtype
from lightning_compress.quantize.quantizer import Storage
from lightning_compress.weights import true_positions

OUTSIDE = -1


def payload_from_codes(
    tensor: Tensor, codes: Tensor, values: Tensor, storage: Storage, scales: Scales | None = None
) -> CodebookPayload:
    """The payload of one tensor.

    Args:
        tensor: floating-point weights of any shape, n of them.
        codes: ``[n]``, int32: the number of a value, or OUTSIDE.
        values: ``[L]``, in the tensor's dtype, in any order.
        storage: for the weights whose code is OUTSIDE.
        scales: by which the values are multiplied.
    """
    counts = torch.bincount(codes[codes >= 0], minlength=len(values))
    used = true_positions(counts > 0)
    used = used[values[used].double().argsort(stable=True)]
    numbers = torch.full((len(values) + 1,), len(used), dtype=torch.int32)  # its last place is that of OUTSIDE
    numbers[used] = torch.arange(len(used), dtype=torch.int32)
    indices = numbers[codes]
    outliers = tensor.detach().reshape(-1)[true_positions(indices == len(used))]
    stored = storage.store(outliers)
    return CodebookPayload(indices.to(index_dtype(len(used))), values[used], scales, stored, tuple(tensor.shape))
