"""Small loops over lanes, the rows that take a step together; numbers are where the lanes of something begin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32, int64, uint64
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.point_loops import NEVER
from lightning_compress.quantize.grid.trellis.trellis import Floats
from lightning_compress.runtime.compilation import compiled

LANES = 128
GROUP = 8  # columns
PAST = 3  # groups before this one whose errors each path has by itself
KEPT = PAST + 1  # groups of which decisions are kept
Numbers = NDArray[np.int32]
Flags = NDArray[np.bool_]


@compiled
def fill(values: NDArray[Any], start: int, end: int, value: float) -> None:
    """Set a part of an array; an assignment to a slice takes ten times as long to compile."""
    for place in range(uint64(start), uint64(end)):
        values[place] = value


@compiled
def read_rows(rest: Floats, first: int, here: int, weights: Floats) -> None:
    """Put ``here`` rows of a matrix from one on into the lanes, ``[columns · lanes]``; the other lanes become 0."""
    fill(weights, 0, len(weights), float32(0))
    for lane in range(here):
        for column in range(rest.shape[1]):
            weights[uint64(column * LANES + lane)] = rest[first + lane, column]


@compiled
def choose(step: Floats, one: int, other: int, total: Floats, target: int, is_other: Flags) -> None:
    """The cheaper of two ways."""
    for lane in range(len(is_other)):
        by_one, by_other = step[one + uint64(lane)], step[other + uint64(lane)]
        is_other[lane] = by_other < by_one
        total[target + uint64(lane)] = min(by_one, by_other)


@compiled
def copy(values: NDArray[Any], result: NDArray[Any], target: int) -> None:
    """Copy the lanes of one thing."""
    for lane in range(len(values)):
        result[target + uint64(lane)] = values[lane]


@compiled
def mix(is_other: Flags, values: NDArray[Any], one: int, other: int, result: NDArray[Any], target: int) -> None:
    """The values on the chosen way."""
    for lane in range(len(is_other)):
        by_one, by_other = values[one + uint64(lane)], values[other + uint64(lane)]
        result[target + uint64(lane)] = by_other if is_other[lane] else by_one


@compiled
def move(
    is_other: Flags, values: Floats, one: int, other: int, result: Floats, target: int, error: int, factor: float
) -> None:
    """The same, moved by factor · error, which stands in the result."""
    for lane in range(len(is_other)):
        by_one, by_other = values[one + uint64(lane)], values[other + uint64(lane)]
        chosen = by_other if is_other[lane] else by_one
        result[target + uint64(lane)] = chosen - result[error + uint64(lane)] * factor


@compiled
def round_weights(
    is_other: Flags,
    values: Floats,
    one: int,
    other: int,
    found: Floats,
    of_one: int,
    of_other: int,
    inverse: float,
    errors: Floats,
    target: int,
    chosen: Floats,
    kept: int,
) -> None:
    """Points with their signs, and their errors."""
    for lane in range(len(is_other)):
        place = uint64(lane)
        flag = is_other[lane]
        by_one, by_other = values[one + place], values[other + place]
        point_by_one, point_by_other = found[of_one + place], found[of_other + place]
        here = by_other if flag else by_one
        size = point_by_other if flag else point_by_one
        point = size if here >= float32(0) else -size
        errors[target + place] = (here - point) * inverse
        chosen[kept + place] = point


@compiled
def best_states(total: Floats, states: int, ends: NDArray[np.int64]) -> None:
    """Each lane's state of the least total."""
    for lane in range(LANES):
        best = 0
        for state in range(1, states):
            if total[uint64(state * LANES + lane)] < total[uint64(best * LANES + lane)]:
                best = state
        ends[lane] = best


@compiled
def level(total: Floats, states: int) -> None:
    """Take the least total of a lane from all of its totals, so that they keep their last bits."""
    for lane in range(LANES):
        least = total[lane]
        for state in range(1, states):
            least = min(least, total[uint64(state * LANES + lane)])
        for state in range(states):
            total[uint64(state * LANES + lane)] -= least


@compiled
def end_other_paths(total: Floats, origin: Numbers, earlier: Numbers, entered: NDArray[np.int64], states: int) -> None:
    """Give up the states whose paths do not come from the state that was entered before the last groups."""
    oldest = (PAST - 2) * states * LANES
    for state in range(states):
        for lane in range(LANES):
            place = uint64(state * LANES + lane)
            ancestor = earlier[uint64(oldest + int64(origin[place]) * LANES + lane)]
            if ancestor != entered[lane]:
                total[place] = NEVER


@compiled
def age(
    past: Floats,
    earlier: Numbers,
    origin: Numbers,
    window: Floats,
    new_past: Floats,
    new_earlier: Numbers,
    states: int,
) -> None:
    """Add the group that is done to what the path to each state has by itself, and drop the oldest group.

    Args:
        past: ``[past · group, states, lanes]``: errors.
        earlier: ``[past − 1, states, lanes]``: states in which the last group began, the last two, ….
        origin: ``[states, lanes]``: states in which the group that is done began.
        window: ``[group, states, lanes]``: its errors.
        new_past: the result.
        new_earlier: the result.
        states: of the trellis.
    """
    size = states * LANES
    for place in range((PAST - 1) * GROUP):
        for state in range(states):
            for lane in range(LANES):
                of_state = state * LANES + lane
                source = (place + GROUP) * size + int64(origin[uint64(of_state)]) * LANES + lane
                new_past[uint64(place * size + of_state)] = past[uint64(source)]
    newest = uint64((PAST - 1) * GROUP * size)
    for place in range(uint64(GROUP * size)):
        new_past[newest + place] = window[place]
    for age_of in range(PAST - 2):
        for state in range(states):
            for lane in range(LANES):
                of_state = state * LANES + lane
                source = age_of * size + int64(origin[uint64(of_state)]) * LANES + lane
                new_earlier[uint64((age_of + 1) * size + of_state)] = earlier[uint64(source)]
    for place in range(uint64(size)):
        new_earlier[place] = origin[place]


@compiled
def trace(
    chosen: Floats,
    came: Flags,
    before: Numbers,
    ends: NDArray[np.int64],
    group: int,
    width: int,
    points: Floats,
    first: int,
    here: int,
) -> None:
    """Write the points of a group on the paths to these states, which become those in which the group began."""
    states = before.shape[1]
    for place in range(width - 1, -1, -1):
        ring = (group % KEPT * GROUP + place) * states
        for lane in range(here):
            at = uint64((ring + ends[lane]) * LANES + lane)
            points[first + lane, group * GROUP + place] = chosen[at]
            ends[lane] = before[int64(came[at]), ends[lane]]
