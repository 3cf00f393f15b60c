"""Prediction of the bytes of each tensor under a plan, from a sample of its rows."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lightning_compress.compression.pipeline import compress
from lightning_compress.plan import Plan
from lightning_compress.weights import Weights

_UNSAMPLED = 32_768  # elements of a tensor that is compressed as a whole
_STRIDE = 16  # of the rows of a larger tensor that are compressed


def predicted_bytes(weights: Weights, plan: Plan) -> dict[str, float]:
    """The bytes of each tensor under a plan, predicted by compressing every sixteenth row of large tensors.

    All methods and coders of the plan take part. Tables and class numbers weigh more in the sample than in the whole
    tensor, by a few percent.

    Args:
        weights: the exact weights.
        plan: which must not depend on the shapes of tensors.

    Returns:
        Name of a tensor → its coded bytes, and ``""`` → the other bytes of the archive.
    """
    rows = {weight.name: _sample(weight.tensor) for weight in weights}
    sample = tuple(replace(weight, tensor=rows[weight.name]) for weight in weights)
    archive = compress(replace(weights, weights=sample), plan)
    elements = {weight.name: weight.tensor.numel() for weight in weights}
    entries = archive.manifest.entries
    others = float(archive.nbytes - sum(entry.coded_bytes for entry in entries))
    coded = {entry.name: entry.coded_bytes * _ratio(elements[entry.name], entry.elements) for entry in entries}
    return {**coded, "": others}


def _ratio(whole: int, sampled: int) -> float:
    return whole / sampled if sampled else 1.0


def _sample(tensor: Tensor) -> Tensor:
    if tensor.numel() <= _UNSAMPLED or tensor.ndim < 2 or len(tensor) < 2 * _STRIDE:
        return tensor
    return tensor[::_STRIDE].contiguous()
