"""What a plan makes of a model, told from some rows of each tensor."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lightning_compress.pipeline.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.weights import Weight, Weights

_WHOLE = 32_768  # weights of a tensor that is not sampled
_SHARE = 16  # of the rows of a larger one, every 16th


def sampled_bytes(weights: Weights, plan: Plan) -> dict[str, float]:
    """About the bytes of each tensor under a plan: every sixteenth row of each large one is compressed.

    All methods and coders of the plan are at work, so whatever they gain is counted; tables and class numbers weigh
    more in a sample than in the whole, a few percent.

    Args:
        weights: the exact weights.
        plan: which must not depend on the shapes of tensors.

    Returns:
        Name of a tensor → its coded bytes, and ``""`` → those of the archive besides.
    """
    rows = {weight.name: _rows(weight.tensor) for weight in weights}
    sample = tuple(Weight(w.name, rows[w.name], w.class_name) for w in weights)
    archive = compress(replace(weights, weights=sample), plan)
    whole = {weight.name: weight.tensor.numel() for weight in weights}
    entries = archive.manifest.entries
    besides = float(archive.nbytes - sum(entry.coded_bytes for entry in entries))
    coded = {entry.name: entry.coded_bytes * _times(whole[entry.name], entry.elements) for entry in entries}
    return {**coded, "": besides}


def _times(whole: int, sampled: int) -> float:
    return whole / sampled if sampled else 1.0


def _rows(tensor: Tensor) -> Tensor:
    if tensor.numel() <= _WHOLE or tensor.ndim < 2 or len(tensor) < 2 * _SHARE:
        return tensor
    return tensor[::_SHARE].contiguous()
