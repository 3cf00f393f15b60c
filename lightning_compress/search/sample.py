"""What a plan makes of a model, told from some rows of each tensor."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lightning_compress.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.weights import Weight, Weights

_WHOLE = 32_768  # weights of a tensor that is not sampled
_SHARE = 16  # of the rows of a larger one, every 16th


def sampled_bytes(weights: Weights, plan: Plan) -> int:
    """About the bytes of the archive that a plan makes: every sixteenth row of each large tensor is compressed.

    All methods and coders of the plan are at work, so whatever they gain is counted; tables and class numbers weigh
    more in a sample than in the whole, a few percent.

    Args:
        weights: the exact weights.
        plan: which must not depend on the shapes of tensors.
    """
    rows = {weight.name: _rows(weight.tensor) for weight in weights}
    sample = tuple(Weight(w.name, rows[w.name], w.class_name) for w in weights)
    archive = compress(replace(weights, weights=sample), plan)
    whole = {weight.name: weight.tensor.numel() for weight in weights}
    missing = sum(
        entry.coded_bytes * (whole[entry.name] - entry.elements) / entry.elements
        for entry in archive.manifest.entries
        if entry.elements
    )
    return round(archive.nbytes + missing)


def _rows(tensor: Tensor) -> Tensor:
    if tensor.numel() <= _WHOLE or tensor.ndim < 2 or len(tensor) < 2 * _SHARE:
        return tensor
    return tensor[::_SHARE].contiguous()
