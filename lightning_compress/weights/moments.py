"""The standard deviation of the weights of several tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_compress.weights.magnitude import chunks


def standard_deviation(tensors: Sequence[Tensor]) -> float:
    """Population standard deviation σ of all finite weights of the tensors, in float64; 0 if there are none."""
    count, total = 0, 0.0
    for values in _finite(tensors):
        count += len(values)
        total += float(values.sum())
    mean = total / max(count, 1)
    squares = sum(float((values - mean).square().sum()) for values in _finite(tensors))
    return math.sqrt(squares / max(count, 1))


def _finite(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    for tensor in tensors:
        for chunk in chunks(tensor):
            yield chunk[torch.isfinite(chunk)].double()
