"""A part of a model as it comes back from its compressed form, what that takes, and how far it is from exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.pipeline.compression import assemble
from lightning_compress.pipeline.payloads import payloads_of
from lightning_compress.runtime import one_thread
from lightning_compress.search.sensitivity.layers.strengths import Strength
from lightning_compress.weights import Weight, Weights


@dataclass(frozen=True, eq=False)
class Point:
    """One part at one strength.

    Attributes:
        tensors: stored name → restored value.
        nbytes: bytes of the coded streams; the file's header is not counted.
    """

    tensors: Mapping[str, Tensor]
    nbytes: int


def compressed(weights: Sequence[Weight], strength: Strength) -> Point:
    """Compress some tensors, and no others.

    Raises:
        PlanError: the strength does not fit them.
    """
    part = Weights(tuple(weights))
    with one_thread():
        payloads = list(payloads_of(part, strength.plan, {}))
        archive = assemble(part, strength.plan, payloads)
        tensors = {weight.name: payload.restore() for weight, payload in zip(part, payloads, strict=True)}
    return Point(tensors, sum(entry.coded_bytes for entry in archive.manifest.entries))


def normalized_error(weights: Sequence[Weight], restored: Mapping[str, Tensor]) -> float:
    """‖w − ŵ‖² / ‖w‖² of all tensors together."""
    error = sum(_squares(w.tensor, restored[w.name]) for w in weights)
    size = sum(_squares(w.tensor) for w in weights)
    return error / size if size else float(bool(error))


def fisher_error(
    weights: Sequence[Weight], restored: Mapping[str, Tensor], squared_gradients: Mapping[str, Tensor]
) -> float:
    """Σ F (w − ŵ)², F being the squared gradient of each weight; tensors without gradients count as not felt."""
    felt = [weight for weight in weights if weight.name in squared_gradients]
    return sum(_squares(w.tensor, restored[w.name], by=squared_gradients[w.name]) for w in felt)


def _squares(tensor: Tensor, other: Tensor | None = None, by: Tensor | None = None) -> float:
    """Sum of squares of a tensor, or of its distance from another, each weighed by a third."""
    values = tensor.detach().cpu().float()
    squares = (values if other is None else values - other.cpu().float()).square()
    return float(torch.sum(squares if by is None else squares * by, dtype=torch.float64))
