"""The best path of every row through a trellis: the Viterbi algorithm, column by column, all rows at once.

Sources: Viterbi 1967, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm"; Fischer
and Wang 1992, "Entropy-constrained trellis-coded quantization" (bits among the costs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.rates import Rates
from lightning_compress.quantize.trellis import Bytes, Floats, Trellis

_ROWS = 2048  # at a time, at most: the costs of all states stay in the cache
_COLUMNS = 32
_CHOICES = 1 << 26  # bytes kept of the paths
_FORBIDDEN = np.float32(1e12)
# A label is 2 · quantizer + parity of the index. The magnitudes it allows are 0, 4, 8 …; 2, 6, 10 …; 0, 3, 7 …;
# 1, 5, 9 …: an offset plus multiples of 4, and none less than the least.
OFFSETS = np.array([0, 2, -1, 1], np.float32)
LEAST = np.array([0, 2, 0, 1], np.float32)


@dataclass(frozen=True, eq=False)
class Block:
    """What the search keeps of some columns.

    Attributes:
        costs: ``[states, rows]``: cost of the best path into each state after the last of them.
        choices: ``[columns, states, rows]``: from which of its two predecessors (see ``Trellis.arrivals``) it came.
    """

    costs: Floats
    choices: NDArray[np.bool_]


def trellis_points(
    weights: Tensor, trellis: Trellis, rates: Rates | None = None, *, zeros: Tensor | None = None
) -> Tensor:
    """Of the points on paths from state 0, those nearest to the weights.

    Args:
        weights: ``[rows, columns]``, at least one column, in units of the (row's) step, none beyond ±32760.
        trellis: the machine.
        rates: bits of the indices, to minimize squared error + weight · bits; None minimizes the squared error alone.
        zeros: ``[rows, columns]`` bool, weights whose point is to be 0; None where there are none.

    Returns:
        ``[rows, columns]`` int16.
    """
    rows = max(1, min(_ROWS, _CHOICES // (trellis.states * weights.shape[1])))
    result = torch.empty(weights.shape, dtype=torch.int16)
    for start in range(0, len(weights), rows):
        part = slice(start, start + rows)
        columns = np.ascontiguousarray(weights[part].float().numpy().T)
        odd_costs = None if zeros is None else np.ascontiguousarray(zeros[part].numpy().T) * _FORBIDDEN
        points = _best_points(columns, trellis, None if rates is None else rates.of_rows(part), odd_costs)
        result[part] = torch.from_numpy(points).T
    return result


def _best_points(weights: Floats, trellis: Trellis, rates: Rates | None, odd_costs: Floats | None) -> NDArray[np.int16]:
    """:func:`trellis_points` of some rows; all arrays ``[columns, rows]``."""
    parts = [slice(start, start + _COLUMNS) for start in range(0, len(weights), _COLUMNS)]
    rates_of = [None if rates is None else rates.of_columns(part) for part in parts]
    blocks: list[Block] = []
    costs = start_costs(trellis, weights.shape[1])
    for part, known in zip(parts, rates_of, strict=True):
        blocks.append(
            extend_paths(weights[part], trellis, costs, known, None if odd_costs is None else odd_costs[part])
        )
        costs = blocks[-1].costs
    points = np.empty(weights.shape, np.int16)
    state = costs.argmin(0).astype(np.uint8)
    for part, known in zip(reversed(parts), reversed(rates_of), strict=True):
        labels, state = trace_back(blocks.pop(), trellis, state)
        points[part] = label_points(weights[part], labels, known)
    return points


def start_costs(trellis: Trellis, rows: int) -> Floats:
    """``[states, rows]`` costs before the first column: every path begins in state 0."""
    costs = np.full((trellis.states, rows), np.inf, np.float32)
    costs[0] = 0
    return costs


def extend_paths(
    weights: Floats, trellis: Trellis, costs: Floats, rates: Rates | None = None, odd_costs: Floats | None = None
) -> Block:
    """Carry the best paths of all rows on over some columns.

    Args:
        weights: ``[columns, rows]`` in units of the step.
        trellis: the machine.
        costs: ``[states, rows]`` of the best path into each state so far.
        rates: bits of the indices of these columns; None leaves them out of the costs.
        odd_costs: ``[columns, rows]`` added to the cost of every odd index; None for 0.
    """
    before, label = trellis.arrivals
    magnitudes = np.abs(weights)
    # [columns, labels, rows]
    steps = np.stack(
        [nearest_points(magnitudes, np.uint8(k), rates)[1] for k in range(4)], 1
    )  # [columns, labels, rows]
    if odd_costs is not None:
        steps[:, 1::2] += odd_costs[:, None]
    choices = np.empty((len(weights), *costs.shape), np.bool_)
    costs = costs - costs.min(0)
    for step, choice in zip(steps, choices, strict=True):
        first, second = costs[before[0]], costs[before[1]]
        first += step[label[0]]
        second += step[label[1]]
        np.less(second, first, out=choice)
        costs = np.minimum(first, second, out=first)
    return Block(costs, choices)


def trace_back(block: Block, trellis: Trellis, state: Bytes) -> tuple[Bytes, Bytes]:
    """Follow paths back from the states that they end in.

    Args:
        block: what :func:`extend_paths` kept.
        trellis: the machine.
        state: ``[rows]``, the state of each row after the last column.

    Returns:
        ``[columns, rows]``, the labels (2 · quantizer + parity) along the paths, and ``[rows]``, the states before the
        first column.
    """
    before, label = (table.astype(np.uint8).reshape(-1) for table in trellis.arrivals)
    columns, states, rows = block.choices.shape
    labels = np.empty((columns, rows), np.uint8)
    row = np.arange(rows)
    for column in reversed(range(columns)):
        came = block.choices[column].reshape(-1)[state.astype(np.intp) * rows + row]
        arrival = state + np.uint8(states) * came
        labels[column] = label[arrival]
        state = before[arrival]
    return labels, state


def label_points(weights: Floats, labels: Bytes, rates: Rates | None = None) -> Floats:
    """The points that weights go to within the labels chosen for them; all arrays ``[columns, rows]``."""
    return np.copysign(nearest_points(np.abs(weights), labels, rates)[0], weights)


def nearest_points(magnitudes: Floats, labels: Bytes | np.uint8, rates: Rates | None = None) -> tuple[Floats, Floats]:
    """For magnitudes the best point with these labels, and its cost error² + weight · bits.

    The arrays are as large as they broadcast to. Of points 4 apart the nearest and the next towards 0
    are compared: 0 may be less than 4 from its neighbour.
    """
    offset, least = OFFSETS[labels], LEAST[labels]
    near = magnitudes - offset
    near *= np.float32(0.25)
    np.rint(near, out=near)
    near *= np.float32(4)
    near += offset
    below = near - np.float32(4)
    np.maximum(below, least, out=below)
    np.maximum(near, least, out=near)
    costs, below_costs = _squares(magnitudes, near), _squares(magnitudes, below)
    if rates is not None:
        starts = rates.starts(labels // np.uint8(2))
        costs += rates.costs(_sizes(near), starts)
        below_costs += rates.costs(_sizes(below), starts)
    np.copyto(near, below, where=below_costs < costs)
    return near, np.minimum(costs, below_costs, out=costs)


def _squares(magnitudes: Floats, points: Floats) -> Floats:
    errors: Floats = magnitudes - points
    errors *= errors
    return errors


def _sizes(points: Floats) -> Floats:
    """|k| + 1/2 or |k|, of |x|."""
    sizes: Floats = points + np.float32(1)
    sizes *= np.float32(0.5)
    return sizes
