"""Points along a trellis with errors fed back from column to column, for many rows at a time: a compiled loop.

The best path to each state carries the errors of its last columns. When a group of columns is done, the path of the
best state decides the oldest group that paths still have by themselves, paths that decided otherwise end, and the
errors of that group move all columns after this one. The fastest index of every array is the row, a lane, so that loops
become vector instructions; places are unsigned, or the compiler provides for negative ones.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, int32, int64, uint64

from lightning_compress.quantize.grid.trellis.error_loops import begin, settle
from lightning_compress.quantize.grid.trellis.lane_loops import (
    GROUP,
    KEPT,
    LANES,
    PAST,
    Numbers,
    age,
    best_states,
    choose,
    copy,
    end_other_paths,
    fill,
    level,
    mix,
    move,
    read_rows,
    round_weights,
    trace,
)
from lightning_compress.quantize.grid.trellis.point_loops import LARGEST, NEVER, TrellisTables
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats
from lightning_compress.quantize.grid.trellis.viterbi_loops import look_up, nearest
from lightning_compress.runtime.compilation import compiled


@compiled
def viterbi_of_rows_with_feedback(
    rest: Floats, upper: Floats, costs: Floats, symbols: int, sums: Bytes, points: Floats, machine: TrellisTables
) -> None:
    """Points of rows that do not depend on each other; arguments as for :func:`viterbi_with_feedback`."""
    before, ways = machine[0], machine[1]
    rows, columns = rest.shape
    states, lanes = before.shape[1], uint64(LANES)
    size, last_group = uint64(states) * lanes, (columns - 1) // GROUP
    weights, tables = np.empty(columns * LANES, float32), np.zeros((columns, LANES), int32)
    total, new_total = np.empty(states * LANES, float32), np.empty(states * LANES, float32)
    found, step = np.empty(2 * states * LANES, float32), np.empty(2 * states * LANES, float32)
    # Of the columns of this group: errors of those that are done, weights of those that are not.
    window, new_window = np.empty(GROUP * states * LANES, float32), np.empty(GROUP * states * LANES, float32)
    origin, new_origin = np.empty(states * LANES, int32), np.empty(states * LANES, int32)  # where the group began
    of_earlier, of_past = (PAST - 1) * states * LANES, PAST * GROUP * states * LANES
    earlier, new_earlier = np.empty(of_earlier, int32), np.empty(of_earlier, int32)
    past, new_past = np.empty(of_past, float32), np.empty(of_past, float32)
    decided, half = np.empty(GROUP * LANES, float32), states // 2 * LANES
    sizes, near, below = np.empty((2, half), int32), np.empty((2, half), float32), np.empty((2, half), float32)
    room = np.empty(half, float32), sizes[0], sizes[1], near, below
    chosen, came = np.empty(KEPT * GROUP * states * LANES, float32), np.empty(KEPT * GROUP * states * LANES, np.bool_)
    is_other, ends, entered = np.empty(LANES, np.bool_), np.empty(LANES, int64), np.empty(LANES, int64)
    for first in range(0, rows, LANES):
        here = min(LANES, rows - first)
        read_rows(rest, first, here, weights)
        for lane in range(here):
            for column in range(columns):
                tables[column, lane] = 2 * symbols * int32(sums[first + lane, column])
        fill(total, 0, LANES, float32(0))
        fill(total, LANES, len(total), NEVER)
        fill(past, 0, of_past, float32(0))
        fill(earlier, 0, of_earlier, int32(0))
        for group in range(last_group + 1):
            start = group * GROUP
            width = min(GROUP, columns - start)
            begin(window, weights, past, upper, start, width, states)
            for state in range(states):
                fill(origin, state * LANES, (state + 1) * LANES, int32(state))
            for place in range(width):
                column = start + place
                inverse = float32(1) / upper[column, column]
                now, ring = uint64(place) * size, (group % KEPT * GROUP + place) * states
                _find(window, now, inverse, tables[column], costs, symbols, machine, room, found, step, total)
                for state in range(states):
                    target, kept = uint64(state) * lanes, uint64(ring + state) * lanes
                    one, other = uint64(before[0, state]) * lanes, uint64(before[1, state]) * lanes
                    of_one, of_other = uint64(ways[0, state]) * lanes, uint64(ways[1, state]) * lanes
                    choose(step, of_one, of_other, new_total, target, is_other)
                    copy(is_other, came, kept)
                    mix(is_other, origin, one, other, new_origin, target)
                    for each in range(place):
                        by = uint64(each) * size
                        mix(is_other, window, by + one, by + other, new_window, by + target)
                    round_weights(
                        is_other, window, now + one, now + other, found, of_one, of_other, inverse,
                        new_window, now + target, chosen, kept,
                    )  # fmt: skip
                    for each in range(place + 1, width):
                        by, factor = uint64(each) * size, upper[column, start + each]
                        move(is_other, window, by + one, by + other, new_window, by + target, now + target, factor)
                total, new_total = new_total, total
                window, new_window = new_window, window
                origin, new_origin = new_origin, origin
            best_states(total, states, ends)
            if group >= PAST:
                for lane in range(LANES):
                    state = int64(origin[uint64(ends[lane] * LANES + lane)])
                    entered[lane] = earlier[uint64(((PAST - 2) * states + state) * LANES + lane)]
                    for place in range(GROUP):
                        decided[uint64(place * LANES + lane)] = past[uint64((place * states + state) * LANES + lane)]
                end_other_paths(total, origin, earlier, entered, states)
                trace(chosen, came, before, entered, group - PAST, GROUP, points, first, here)
                settle(weights, start + width, decided, upper, start - PAST * GROUP)
            level(total, states)
            age(past, earlier, origin, window, new_past, new_earlier, states)
            past, new_past = new_past, past
            earlier, new_earlier = new_earlier, earlier
        for group in range(last_group, max(last_group - PAST, -1), -1):
            trace(chosen, came, before, ends, group, min(GROUP, columns - group * GROUP), points, first, here)


@compiled
def _find(
    values: Floats,
    now: int,
    inverse: float,
    tables: Numbers,
    costs: Floats,
    symbols: int,
    machine: TrellisTables,
    room: tuple[Floats, Numbers, Numbers, Floats, Floats],
    found: Floats,
    step: Floats,
    total: Floats,
) -> None:
    """For every choice its point, and what the path costs with it."""
    offsets, least, starts = machine[2], machine[3], machine[4]
    states, last = machine[0].shape[1], int32(symbols - 1)
    magnitudes, near_size, below_size, near, below = room
    for quantizer in range(2):
        # The states of a quantizer lie side by side, and choose among the same points.
        first = quantizer * (states // 2)
        of_states = uint64(first * LANES)
        _magnitudes(values, now + of_states, magnitudes)
        for choice in (first, states + first):
            nearest(magnitudes, offsets[choice], least[choice], last, near[0], below[0], near_size, below_size)
            _look_up(costs, tables, starts[choice], near_size, below_size, near[1], below[1])
            _cheaper(magnitudes, inverse, near, below, found, step, uint64(choice * LANES), total, of_states)


@compiled
def _magnitudes(values: Floats, first: int, magnitudes: Floats) -> None:
    for lane in range(len(magnitudes)):
        magnitudes[lane] = min(abs(values[first + uint64(lane)]), LARGEST)


@compiled
def _look_up(
    costs: Floats, tables: Numbers, start: int, near_size: Numbers, below_size: Numbers, near: Floats, below: Floats
) -> None:
    """What indices of these sizes cost, ``[states, lanes]``."""
    for first in range(0, len(near), LANES):
        part = slice(first, first + LANES)
        look_up(costs, tables, start, near_size[part], below_size[part], near[part], below[part])


@compiled
def _cheaper(
    magnitudes: Floats,
    inverse: float,
    near: Floats,
    below: Floats,
    found: Floats,
    step: Floats,
    target: int,
    total: Floats,
    of_state: int,
) -> None:
    """The cheaper of two points; ``[2, states · lanes]`` each: points, and what their bits cost."""
    for lane in range(len(magnitudes)):
        near_error = (magnitudes[lane] - near[0, lane]) * inverse
        below_error = (magnitudes[lane] - below[0, lane]) * inverse
        near_cost = near_error * near_error + near[1, lane]
        below_cost = below_error * below_error + below[1, lane]
        is_below = below_cost < near_cost
        found[target + uint64(lane)] = below[0, lane] if is_below else near[0, lane]
        step[target + uint64(lane)] = (below_cost if is_below else near_cost) + total[of_state + uint64(lane)]
