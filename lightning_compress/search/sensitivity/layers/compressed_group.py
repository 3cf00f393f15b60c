"""A group of weights, compressed and restored: its values, its size, and its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.compression.payloads import payloads_of
from lightning_compress.compression.pipeline import assemble
from lightning_compress.runtime import one_thread
from lightning_compress.search.sensitivity.layers.strengths import Strength
from lightning_compress.weights import Weight, Weights


@dataclass(frozen=True, eq=False)
class CompressedGroup:
    """One group of weights after compression at one strength.

    Attributes:
        tensors: stored name → restored value.
        nbytes: bytes of the coded streams, without the header of a file.
    """

    tensors: Mapping[str, Tensor]
    nbytes: int


def compress_group(weights: Sequence[Weight], strength: Strength) -> CompressedGroup:
    """Compress and restore a group of weights.

    Raises:
        PlanError: the strength does not fit the weights.
    """
    group = Weights(tuple(weights))
    with one_thread():
        payloads = list(payloads_of(group, strength.plan, {}))
        archive = assemble(group, strength.plan, payloads)
        tensors = {weight.name: payload.restore() for weight, payload in zip(group, payloads, strict=True)}
    return CompressedGroup(tensors, sum(entry.coded_bytes for entry in archive.manifest.entries))


def normalized_error(weights: Sequence[Weight], restored: Mapping[str, Tensor]) -> float:
    """‖w − ŵ‖² / ‖w‖², over all tensors together."""
    error = sum(_squares(w.tensor, restored[w.name]) for w in weights)
    size = sum(_squares(w.tensor) for w in weights)
    return error / size if size else float(bool(error))


def fisher_error(
    weights: Sequence[Weight], restored: Mapping[str, Tensor], squared_gradients: Mapping[str, Tensor]
) -> float:
    """Σ F (w − ŵ)², where F is the squared gradient of each weight, or 0 for tensors without gradients."""
    with_gradients = [weight for weight in weights if weight.name in squared_gradients]
    return sum(_squares(w.tensor, restored[w.name], factors=squared_gradients[w.name]) for w in with_gradients)


def _squares(tensor: Tensor, other: Tensor | None = None, factors: Tensor | None = None) -> float:
    """Sum of squares of a tensor, or of its difference from another, each multiplied by its factor."""
    values = tensor.detach().cpu().float()
    squares = (values if other is None else values - other.cpu().float()).square()
    return float(torch.sum(squares if factors is None else squares * factors, dtype=torch.float64))
