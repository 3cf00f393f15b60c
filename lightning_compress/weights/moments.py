"""The standard deviation of the weights of several tensors, and whether weights are finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_compress.weights.flat_values import chunks

_SAFE = 2.0**-300


def standard_deviation(tensors: Sequence[Tensor]) -> float:
    """Population standard deviation σ of all finite weights of the tensors, in float64; 0 if there are none."""
    count, total, largest = 0, 0.0, 0.0
    for values in _finite(tensors):
        count += len(values)
        total += float(values.sum())
        largest = max(largest, float(values.abs().max()) if len(values) else 0.0)
    if not count or not largest:
        return 0.0
    unit = power_of_two_near(largest)
    if unit != 1:
        total = sum(float((values / unit).sum()) for values in _finite(tensors))
    mean = total / count
    squares = 0.0
    for values in _finite(tensors):
        scaled = values if unit == 1 else values / unit
        squares += float((scaled - mean).square_().sum())
    return math.sqrt(squares / count) * unit


def all_finite(values: Tensor) -> bool:
    """Whether floating-point values are all finite. A finite sum shows it fast; that of 16-bit floats may overflow."""
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def power_of_two_near(largest: float) -> float:
    """The unit in which squares of values up to ``largest``, positive, neither overflow nor underflow; mostly 1."""
    return 1.0 if _SAFE <= largest <= 1 / _SAFE else math.ldexp(0.5, math.frexp(largest)[1])


def _finite(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """The finite values in float64, in chunks."""
    for tensor in tensors:
        for chunk in chunks(tensor):
            is_finite = chunk.is_floating_point() and all_finite(chunk)
            yield (chunk if is_finite else chunk[torch.isfinite(chunk)]).double()
