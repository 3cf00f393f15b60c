"""The standard deviation of the weights of several tensors, and whether weights are finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_compress.weights.values.flat_values import chunks
from lightning_compress.weights.workers import in_batches

_SAFE = 2.0**-300


def standard_deviation(tensors: Sequence[Tensor]) -> float:
    """Population standard deviation σ of all finite weights of the tensors, in float64; 0 if there are none."""
    count, total, largest = 0, 0.0, 0.0
    for number, part, reach in in_batches(_totals, tensors):
        count, total, largest = count + number, total + part, max(largest, reach)
    if not count or not largest:
        return 0.0
    unit = power_of_two_near(largest)
    if unit != 1:
        total = sum(in_batches(lambda some: _sum(some, unit), tensors))
    mean = total / count
    squares = sum(in_batches(lambda some: _sum_of_squares(some, unit, mean), tensors))
    return math.sqrt(squares / count) * unit


def _totals(tensors: Sequence[Tensor]) -> tuple[int, float, float]:
    """The number of the finite weights, their sum, and their largest magnitude."""
    count, total, largest = 0, 0.0, 0.0
    for values, reach in _finite(tensors):
        count += len(values)
        total += float(values.double().sum())
        largest = max(largest, reach)
    return count, total, largest


def _sum(tensors: Sequence[Tensor], unit: float) -> float:
    """The sum of the finite weights in units."""
    return sum(float((values.double() / unit).sum()) for values, _ in _finite(tensors))


def _sum_of_squares(tensors: Sequence[Tensor], unit: float, mean: float) -> float:
    """The sum of the squares of the finite weights in units, less their mean."""
    total = 0.0
    for values, _ in _finite(tensors):
        scaled = values.to(torch.float64, copy=True)
        scaled = scaled if unit == 1 else scaled.div_(unit)
        total += float(scaled.sub_(mean).square_().sum())
    return total


def all_finite(values: Tensor) -> bool:
    """Whether floating-point values are all finite. A finite sum shows it fast; that of 16-bit floats may overflow."""
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def power_of_two_near(largest: float) -> float:
    """The unit in which squares of values up to ``largest``, positive, neither overflow nor underflow; mostly 1."""
    return 1.0 if _SAFE <= largest <= 1 / _SAFE else math.ldexp(0.5, math.frexp(largest)[1])


def _finite(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, float]]:
    """The finite values in chunks, each with its largest magnitude."""
    for tensor in tensors:
        for chunk in chunks(tensor):
            reach = _largest(chunk)
            values = chunk if math.isfinite(reach) else chunk[torch.isfinite(chunk)]
            yield values, reach if len(values) == len(chunk) else _largest(values)


def _largest(values: Tensor) -> float:
    """The largest magnitude, NaN if one is; 0 of none."""
    return max(map(abs, map(float, values.aminmax()))) if len(values) else 0.0
