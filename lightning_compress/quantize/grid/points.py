"""Which points of the grid weights go to: the nearest, or those that are cheap for their error."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lightning_compress.quantize.grid.classes import choose_classes
from lightning_compress.quantize.grid.trellis.feedback import feedback_points
from lightning_compress.quantize.grid.trellis.rates import Rates, cheapest_whole, rates_of_points
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.quantize.grid.trellis.viterbi import trellis_points
from lightning_compress.quantize.grid.walk import nearest_indices

_ROUNDS = 3
_SAMPLE = 1 << 17


def choose_points(
    weights: Tensor,
    states: int,
    rate_weight: float,
    *,
    zeros: Tensor | None = None,
    factor: Tensor | None = None,
    spread: Tensor | None = None,
) -> Tensor:
    """Points that make squared error + rate_weight · 2 ln 2 · (error of the nearest points) · bits small.

    At high rates each bit quarters the error, so at a rate_weight of 1 a bit is worth what it would save elsewhere
    (Sullivan and Wiegand 1998, "Rate–distortion optimization for video compression"). How many bits an index costs
    depends on all indices: it is measured on those of some rows, a few times over.

    Args:
        weights: ``[rows, columns]`` in units of the (row's) step, none beyond ±32760; at least one.
        states: of the trellis, 0 for none.
        rate_weight: what bits count, 0 for nothing.
        zeros: ``[rows, columns]`` bool, weights whose point is to be 0; None where there are none.
        factor: ``[columns, columns]`` of :func:`feedback_factor`, to feed errors back; None, or with zeros, for none.
        spread: ``[rows, rows]`` of ``spread_in_steps``, to feed errors back between rows too; only with a factor.

    Returns:
        ``[rows, columns]`` int16.
    """

    def final(rates: Rates | None) -> Tensor:
        if factor is None or zeros is not None:
            return _points(weights, states, rates, zeros)
        return feedback_points(weights, factor, TRELLISES[states] if states else None, rates, spread)

    if not rate_weight:
        return final(None)
    rows, columns = weights.shape
    every = max(1, weights.numel() // _SAMPLE)
    sample, sample_zeros = weights[::every], None if zeros is None else zeros[::every]
    classes = choose_classes(nearest_indices(weights, states), None)
    of_rows, of_columns = classes.of(rows, columns)
    sums = (of_rows[:, None] + of_columns).T if classes.sums > 1 else None  # row by row in memory, as loops read them
    sample_sums = None if sums is None else np.ascontiguousarray(sums[:, ::every])
    points = _points(sample, states, None, sample_zeros)
    bit = rate_weight * 2 * math.log(2) * float((sample - points).square().mean())
    trellis = TRELLISES[states] if states else None
    rates = rates_of_points(points.numpy(), trellis, bit, sample_sums, classes.sums)
    for _ in range(_ROUNDS - 1):
        points = _points(sample, states, rates, sample_zeros)
        rates = rates_of_points(points.numpy(), trellis, bit, sample_sums, classes.sums)
    return final(Rates(rates.bits, bit, sums))


def largest_error(trellis: bool, rates: bool) -> float:
    """How far a point may be from its weight, in steps, without feedback of errors.

    Points are 1 apart, or 4 apart in one part of a trellis. With rates the next point towards 0 may be taken.
    """
    apart = 4 if trellis else 1
    return apart * (1.5 if rates else 0.5)


def _points(weights: Tensor, states: int, rates: Rates | None, zeros: Tensor | None) -> Tensor:
    if states:
        return trellis_points(weights, TRELLISES[states], rates, zeros=zeros)
    if rates is None:
        by_column = weights.T.contiguous()
        points = by_column.round().to(torch.int16).T
    else:
        points = torch.from_numpy(cheapest_whole(weights.numpy(), rates))
    return points if zeros is None else points.masked_fill(zeros, 0)
