"""The Viterbi algorithm along the rows of a matrix, without feedback of errors: compiled loops.

Many rows take each step together, so that the loops over them become vector instructions. Places are unsigned, or the
compiler provides for negative ones; what a row is in, a lane, is the fastest index of every array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32, int16, int32, int64, uint64
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.lane_loops import LANES, Flags, Numbers, best_states, fill, level
from lightning_compress.quantize.grid.trellis.point_loops import LARGEST, NEVER, TrellisTables
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers
from lightning_compress.runtime.compilation import compiled

_LEVELLED = 64  # columns after which the least total becomes 0, so that totals keep their last bits


@compiled
def viterbi(
    weights: Floats, zeros: Flags, costs: Floats, symbols: int, sums: Bytes, points: Integers, machine: TrellisTables
) -> None:
    """Points along a trellis, each row's on its best path from state 0: the Viterbi algorithm, without feedback.

    Args:
        weights: ``[rows, columns]`` in units of the step.
        zeros: ``[rows, columns]``, weights that are 0 and whose points are to be; ``[0, 0]`` where there are none.
        costs: and those after it as for :func:`round_with_feedback`.
        points: ``[rows, columns]`` int16, the result.
        machine: see :func:`trellis_tables`.
    """
    before, ways, offsets, least, starts = machine
    rows, columns = weights.shape
    states, lanes = before.shape[1], uint64(LANES)
    half, last = states // 2, int32(symbols - 1)
    labels = np.empty((2, states), int64)
    for way in range(2):
        for state in range(states):
            labels[way, state] = 2 * (before[way, state] // half) + ways[way, state] // states
    total, new_total = np.empty(states * LANES, float32), np.empty(states * LANES, float32)
    magnitudes, tables, cost = np.zeros(LANES, float32), np.zeros(LANES, int32), np.empty(4 * LANES, float32)
    near, below = np.empty((2, LANES), float32), np.empty((2, LANES), float32)
    near_size, below_size = np.empty(LANES, int32), np.empty(LANES, int32)
    found, came = np.empty(4 * columns * LANES, int16), np.empty(states * columns * LANES, np.bool_)
    ends = np.empty(LANES, int64)
    for first in range(0, rows, LANES):
        here = min(LANES, rows - first)
        fill(total, 0, LANES, float32(0))
        fill(total, LANES, len(total), NEVER)
        for column in range(columns):
            for lane in range(here):
                magnitudes[lane] = min(abs(weights[first + lane, column]), LARGEST)
                tables[lane] = 2 * symbols * int32(sums[first + lane, column])
            for label in range(4):
                # The states of a quantizer lie side by side, and share its points.
                choice = (label & 1) * states + (label >> 1) * half
                nearest(magnitudes, offsets[choice], least[choice], last, near[0], below[0], near_size, below_size)
                look_up(costs, tables, starts[choice], near_size, below_size, near[1], below[1])
                place = uint64(4 * column + label) * lanes
                _cheaper(magnitudes, near, below, found, place, cost, uint64(label) * lanes)
            if len(zeros):
                for lane in range(here):
                    if zeros[first + lane, column]:  # of even points, and only of these, one is 0
                        cost[LANES + lane] += NEVER
                        cost[3 * LANES + lane] += NEVER
            for state in range(states):
                _step(
                    lanes,
                    total,
                    uint64(before[0, state]) * lanes,
                    uint64(before[1, state]) * lanes,
                    cost,
                    uint64(labels[0, state]) * lanes,
                    uint64(labels[1, state]) * lanes,
                    came,
                    uint64(column * states + state) * lanes,
                    new_total,
                    uint64(state) * lanes,
                )
            total, new_total = new_total, total
            if column % _LEVELLED == _LEVELLED - 1:
                level(total, states)
        best_states(total, states, ends)
        for column in range(columns - 1, -1, -1):
            for lane in range(here):
                best = ends[lane]
                way = int64(came[uint64((column * states + best) * LANES + lane)])
                point = found[uint64((4 * column + labels[way, best]) * LANES + lane)]
                sign = int16(weights[first + lane, column] < 0)
                points[first + lane, column] = (point ^ -sign) + sign  # no branch: signs cannot be predicted
                ends[lane] = before[way, best]


@compiled
def nearest(
    magnitudes: Floats,
    offset: float,
    least: float,
    last: int,
    near: Floats,
    below: Floats,
    near_size: Numbers,
    below_size: Numbers,
) -> None:
    """Of the points of a label the nearest and the next towards 0, and the sizes of their indices."""
    for lane in range(len(magnitudes)):
        whole = float32(int32((magnitudes[lane] - offset) * float32(0.25) + float32(0.5)))
        nearest = max(float32(4) * whole + offset, least)
        next_below = max(nearest - float32(4), least)
        near[lane] = nearest
        below[lane] = next_below
        near_size[lane] = min(int32(nearest + float32(1)) >> int32(1), last)
        below_size[lane] = min(int32(next_below + float32(1)) >> int32(1), last)


@compiled
def look_up(
    costs: Floats, tables: Numbers, start: int, near_size: Numbers, below_size: Numbers, near: Floats, below: Floats
) -> None:
    """What indices of these sizes cost."""
    for lane in range(len(tables)):
        begin = tables[lane] + start
        near[lane] = costs[uint64(begin + near_size[lane])]
        below[lane] = costs[uint64(begin + below_size[lane])]


@compiled
def _cheaper(
    magnitudes: Floats, near: Floats, below: Floats, found: Integers, place: int, cost: Floats, of_label: int
) -> None:
    """The cheaper of two points, by squared error and bits; ``[2, lanes]`` each: points, and what their bits cost."""
    for lane in range(len(magnitudes)):
        near_error, below_error = magnitudes[lane] - near[0, lane], magnitudes[lane] - below[0, lane]
        near_cost = near_error * near_error + near[1, lane]
        below_cost = below_error * below_error + below[1, lane]
        is_below = below_cost < near_cost
        found[place + uint64(lane)] = int16(below[0, lane] if is_below else near[0, lane])
        cost[of_label + uint64(lane)] = below_cost if is_below else near_cost


@compiled
def _step(
    lanes: int,
    total: Floats,
    one: int,
    other: int,
    cost: Floats,
    of_one: int,
    of_other: int,
    came: NDArray[Any],
    place: int,
    new_total: Floats,
    target: int,
) -> None:
    """The cheaper of the two ways to a state; numbers are where the lanes of each begin."""
    for lane in range(lanes):
        by_one, by_other = total[one + lane] + cost[of_one + lane], total[other + lane] + cost[of_other + lane]
        came[place + lane] = by_other < by_one
        new_total[target + lane] = min(by_one, by_other)
