"""Histogram of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.charts.style import drawable
from lightning_compress.errors import ChartError

BINS = 121  # odd, so that one bin is centred on 0
_FEW_LEVELS = 8  # with more levels in a bin, one level more or less is not visible
_SAMPLE = 1 << 17  # weights of a tensor that are looked at


@dataclass(frozen=True, eq=False)
class Histogram:
    """Number of weights in each bin.

    Attributes:
        edges: ``[n + 1]``, increasing.
        counts: ``[n]``.

    Raises:
        ChartError: the lengths do not match.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.counts.ndim != 1 or self.edges.shape != (len(self.counts) + 1,):
            raise ChartError(
                f"a histogram has edges of shape {list(self.edges.shape)} and counts of shape "
                f"{list(self.counts.shape)}: give n + 1 edges for n counts"
            )

    @property
    def range(self) -> tuple[float, float]:
        """The outermost edges."""
        return float(self.edges[0]), float(self.edges[-1])


def histogram_of(
    tensors: Iterable[Tensor],
    bins: int = BINS,
    range: tuple[float, float] | None = None,  # noqa: A002 (numpy's name for it)
) -> Histogram:
    """Count the values of tensors in bins of equal width.

    Only finite values of floating-point tensors count. An odd number of bins over a range that is symmetric about 0
    has one bin centred on 0, for pruned weights.

    Args:
        tensors: of any shape.
        bins: number of bins.
        range: the outermost edges; values outside are not counted. By default, the smallest range that is symmetric
            about 0 and contains all values.

    Raises:
        ChartError: fewer than one bin, or a range that is not increasing.
    """
    values = [_finite(tensor) for tensor in tensors if tensor.is_floating_point()]
    if range is None:
        reach = max((float(np.abs(value).max()) for value in values if value.size), default=0.0) or 1.0
        range = (-reach, reach)  # noqa: A001
    low, high = range
    if bins < 1 or not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ChartError(f"{bins} bins over the range {low} to {high}: give one bin at least, and a range that rises")
    counts = np.zeros(bins, np.int64)
    for value in values:
        counts += np.histogram(value, bins, range)[0]
    return Histogram(np.linspace(low, high, bins + 1), counts)


def central_range(tensors: Iterable[Tensor], share: float = 0.998) -> tuple[float, float]:
    """The range, symmetric about 0, of this share of all finite values; it excludes a few outliers.

    Args:
        tensors: of any shape; only floating-point ones count.
        share: above 0, at most 1.
    """
    values = [_finite(tensor) for tensor in tensors if tensor.is_floating_point()]
    magnitudes = np.abs(np.concatenate(values)) if values else np.empty(0)
    if not magnitudes.size:
        return -1.0, 1.0
    index = min(int(share * magnitudes.size), magnitudes.size - 1)
    reach = float(np.partition(magnitudes, index)[index]) or float(magnitudes.max()) or 1.0
    return -reach, reach


def common_bins(exact: Sequence[Tensor], restored: Sequence[Tensor]) -> tuple[tuple[float, float], int]:
    """Range and number of bins for the histograms of weights before and after compression.

    The range is the :func:`central_range` of the exact weights. Where restored weights are levels of a grid, a bin is
    as wide as one level or several: bins of another width would hold one level here and two there, a pattern that is
    neither in the weights nor in the grid. Among tensors with different grids the widest counts.

    Args:
        exact: the exact weights of a class; the restored ones where these are not known.
        restored: the restored weights.
    """
    _, reach = central_range(exact)
    width = 2 * reach / BINS
    level = max((_level(tensor, reach) for tensor in restored if tensor.is_floating_point()), default=0.0)
    if level > width / _FEW_LEVELS:
        width = level * max(1, round(width / level))
    half = max(1, math.ceil(reach / width - 0.5))
    return (-(half + 0.5) * width, (half + 0.5) * width), 2 * half + 1


def _level(tensor: Tensor, reach: float) -> float:
    """The usual distance of neighbouring values within the inner half of the range; 0 for less than three values."""
    values = _finite(tensor)
    sample = values[:: -(-values.size // _SAMPLE) or 1]
    inner = np.unique(sample[np.abs(sample) <= reach / 2])
    return float(np.median(np.diff(inner.astype(np.float64)))) if inner.size > 2 else 0.0


def _finite(tensor: Tensor) -> NDArray[np.floating]:
    """The finite values, flat, as float32 or float64; float64 values beyond what charts draw as its limits."""
    flat = tensor.detach().cpu().reshape(-1)
    wide = flat if flat.dtype == torch.float64 else flat.float()
    array: NDArray[np.floating] = wide.numpy()
    kept = np.isfinite(array)
    finite = array if kept.all() else array[kept]
    return drawable(finite) if flat.dtype == torch.float64 else finite
