"""Prediction of the bytes of each tensor under a plan, from a sample of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from lightning_compress.compression.pipeline import compress
from lightning_compress.plan import Plan
from lightning_compress.quantize import GridGuide
from lightning_compress.weights import Weights

_UNSAMPLED = 32_768  # elements of a tensor that is compressed as a whole
_STRIDE = 16  # of the rows of a larger tensor that are compressed


def predicted_bytes(weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> dict[str, float]:
    """The bytes of each tensor under a plan, predicted by compressing every sixteenth row of large tensors.

    All methods and coders of the plan take part, and the steps of rows, but no error feedback. Tables and class numbers
    weigh more in the sample than in the whole tensor, by a few percent.

    Args:
        weights: the exact weights.
        plan: which must not depend on the shapes of tensors.
        guidance: as for :func:`compress`.

    Returns:
        Name of a tensor → its coded bytes, and ``""`` → the other bytes of the archive.
    """
    rows = {weight.name: _sample(weight.tensor) for weight in weights}
    sample = tuple(replace(weight, tensor=rows[weight.name]) for weight in weights)
    guides = {weight.name: _of_sample(guidance.get(weight.name), weight.tensor) for weight in weights}
    given = {name: guide for name, guide in guides.items() if guide is not None}
    archive = compress(replace(weights, weights=sample), plan, guidance=given)
    elements = {weight.name: weight.tensor.numel() for weight in weights}
    entries = archive.manifest.entries
    others = float(archive.nbytes - sum(entry.coded_bytes for entry in entries))
    coded = {entry.name: entry.coded_bytes * _ratio(elements[entry.name], entry.elements) for entry in entries}
    return {**coded, "": others}


def _ratio(whole: int, sampled: int) -> float:
    return whole / sampled if sampled else 1.0


def _sample(tensor: Tensor) -> Tensor:
    return tensor[::_STRIDE].contiguous() if _is_sampled(tensor) else tensor


def _is_sampled(tensor: Tensor) -> bool:
    return tensor.numel() > _UNSAMPLED and tensor.ndim > 1 and len(tensor) >= 2 * _STRIDE


def _of_sample(guide: object, tensor: Tensor) -> object:
    """The guide of the rows of a sample: their steps. A guide of another kind is taken where there is no sample."""
    if not isinstance(guide, GridGuide):
        return None if _is_sampled(tensor) else guide
    exponents = guide.exponents
    return GridGuide(exponents if exponents is None or not _is_sampled(tensor) else exponents[::_STRIDE].contiguous())
