"""Points of rows, one after the other: compiled loops.

Where errors are fed back, what a weight becomes depends on every weight before it, in its row and in the rows above;
there is nothing that arrays as a whole could do at once. Without feedback they could take all rows, but the loop is
faster. So this is the one module that is compiled (:mod:`compilation`). All arrays of floating-point numbers that come
and go are float32.

A label is 2 · quantizer + parity of an index, see :mod:`lightning_compress.quantize.grid.trellis.trellis`.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, float64, int32, uint8
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Trellis
from lightning_compress.runtime.compilation import compiled

_BLOCK = 64  # columns after which only the best path of a row goes on
_GROUP = 8  # columns whose errors reach the rest of the block together
_MOST = float32(32760)
_NEVER = float32(1e30)
# What the points of a label are: an offset plus multiples of 4, and none less than the least. The magnitudes are 0, 4,
# 8 …; 2, 6, 10 …; 0, 3, 7 …; 1, 5, 9 ….
_OFFSETS = np.array([0, 2, -1, 1], np.float32)
_LEAST = np.array([0, 2, 0, 1], np.float32)

Flags = NDArray[np.bool_]
TrellisTables = tuple[NDArray[np.int32], NDArray[np.int32], Floats, Floats, NDArray[np.int32]]


def trellis_tables(trellis: Trellis, symbols: int) -> TrellisTables:
    """A trellis as the loops read it.

    Args:
        trellis: the trellis.
        symbols: how many costs a table has for each quantizer.

    Returns:
        ``[2, states]`` the two states before each, and where among the choices ``parity · states + state`` the way from
        them is; and ``[2 · states]`` each, for every choice: the offset of its points, the least of them, and where its
        costs begin.
    """
    before, labels = trellis.arrivals
    ways = before + trellis.states * (labels & 1)
    quantizers = np.array(trellis.quantizer)
    label = np.concatenate([2 * quantizers, 2 * quantizers + 1])
    starts = symbols * (label >> 1)
    return before.astype(np.int32), ways.astype(np.int32), _OFFSETS[label], _LEAST[label], starts.astype(np.int32)


@compiled
def round_with_feedback(
    rest: Floats, upper: Floats, spread: Floats, costs: Floats, symbols: int, sums: Bytes, points: Floats
) -> None:
    """Whole numbers for some rows, errors fed back.

    Args:
        rest: ``[rows, columns]`` weights in units of the step; becomes their errors.
        upper: ``[columns, columns]``, the factor of feedback between columns.
        spread: ``[rows, rows]``, that between these rows.
        costs: weight · bits of each size, one table of two times ``symbols`` after the other.
        symbols: sizes of a table; the last stands for all beyond.
        sums: ``[rows, columns]``, which table.
        points: ``[rows, columns]``, the result.
    """
    columns = rest.shape[1]
    value = np.empty(columns, float32)
    for row in range(len(rest)):
        value[:] = rest[row]
        for column in range(columns):
            inverse = float32(1) / upper[column, column]
            magnitude = min(abs(value[column]), _MOST)
            near = np.rint(magnitude)
            below = max(near - float32(1), float32(0))
            table = 2 * symbols * int32(sums[row, column])
            near_cost = ((magnitude - near) * inverse) ** 2 + costs[table + min(int32(near), symbols - 1)]
            below_cost = ((magnitude - below) * inverse) ** 2 + costs[table + min(int32(below), symbols - 1)]
            if below_cost < near_cost:
                near = below
            point = near if value[column] >= 0 else -near
            points[row, column] = point
            error = (value[column] - point) * inverse
            for later in range(column + 1, columns):
                value[later] -= error * upper[column, later]
        _spread_errors(rest, spread, points, row)


@compiled
def viterbi_with_feedback(
    rest: Floats,
    upper: Floats,
    spread: Floats,
    costs: Floats,
    symbols: int,
    sums: Bytes,
    points: Floats,
    machine: TrellisTables,
) -> None:
    """The same along a trellis: every state's best path carries the errors that it has made itself.

    After a block of columns the best path is kept, and the rest of the row moves with its errors. Within a block the
    errors of a path move a few columns at once, and the others when these are done: so loops are long, and fast.
    """
    before, ways, offsets, least, starts = machine
    states, columns = before.shape[1], rest.shape[1]
    last = int32(symbols - 1)
    value = np.empty(columns, float32)
    total, new_total = np.empty(states, float32), np.empty(states, float32)
    values, new_values = np.empty((states, _BLOCK), float32), np.empty((states, _BLOCK), float32)
    near, new_near = np.empty((states, _GROUP), float32), np.empty((states, _GROUP), float32)
    found, step = np.empty(2 * states, float32), np.empty(2 * states, float32)
    chosen, errors = np.empty((_BLOCK, states), float32), np.empty((_BLOCK, states), float32)
    origins, made = np.empty((_BLOCK, states), int32), np.empty(_BLOCK, float32)
    for row in range(len(rest)):
        value[:] = rest[row]
        total[:] = _NEVER
        total[0] = 0
        for start in range(0, columns, _BLOCK):
            width = min(_BLOCK, columns - start)
            values[:, :width] = value[start : start + width]
            for first in range(0, width, _GROUP):
                end = min(first + _GROUP, width)
                near[:, : end - first] = values[:, first:end]
                for place in range(first, end):
                    column = start + place
                    inverse = float32(1) / upper[column, column]
                    table = int32(2 * symbols * int32(sums[row, column]))
                    for state in range(states):
                        magnitude = min(abs(near[state, place - first]), _MOST)
                        for choice in (state, states + state):
                            point, cost = _point(
                                magnitude, inverse, offsets[choice], least[choice], costs, table + starts[choice], last
                            )
                            found[choice], step[choice] = point, cost + total[state]
                    for state in range(states):
                        way, origin = ways[0, state], before[0, state]
                        if step[ways[1, state]] < step[way]:
                            way, origin = ways[1, state], before[1, state]
                        new_total[state] = step[way]
                        here = near[origin, place - first]
                        point = found[way] if here >= 0 else -found[way]
                        error = (here - point) * inverse
                        chosen[place, state], errors[place, state], origins[place, state] = point, error, origin
                        for later in range(place + 1, end):
                            moved = near[origin, later - first] - error * upper[column, start + later]
                            new_near[state, later - first] = moved
                    total, new_total = new_total, total
                    near, new_near = new_near, near
                if end < width:
                    for state in range(states):
                        origin = state
                        for place in range(end - 1, first - 1, -1):
                            made[place - first] = errors[place, origin]
                            origin = origins[place, origin]
                        new_values[state, end:] = values[origin, end:]
                        _move(new_values[state, end:width], made[:_GROUP], upper, start + first, start + end)
                    values, new_values = new_values, values
            best = 0
            for state in range(1, states):
                if total[state] < total[best]:
                    best = state
            total[:] = _NEVER
            total[best] = 0
            for place in range(width - 1, -1, -1):
                points[row, start + place], made[place] = chosen[place, best], errors[place, best]
                best = origins[place, best]
            if start + width < columns:
                _move(value[start + width :], made, upper, start, start + width)
        _spread_errors(rest, spread, points, row)


@compiled
def viterbi(
    weights: Floats, zeros: Flags, costs: Floats, symbols: int, sums: Bytes, points: Floats, machine: TrellisTables
) -> None:
    """Points along a trellis, each row's on its best path from state 0: the Viterbi algorithm, without feedback.

    Args:
        weights: ``[rows, columns]`` in units of the step.
        zeros: ``[rows, columns]``, weights that are 0 and whose points are to be; ``[0, 0]`` where there are none.
        costs: and those after it as for :func:`round_with_feedback`.
        machine: see :func:`trellis_tables`.
    """
    before, ways, offsets, least, starts = machine
    states, columns = before.shape[1], weights.shape[1]
    half, last = states // 2, int32(symbols - 1)
    total, new_total = np.empty(states, float64), np.empty(states, float64)
    found, step = np.empty((columns, 4), float32), np.empty(2 * states, float64)
    came = np.empty((columns, states), uint8)
    for row in range(len(weights)):
        total[:] = _NEVER
        total[0] = 0
        for column in range(columns):
            magnitude = min(abs(weights[row, column]), _MOST)
            table = int32(2 * symbols * int32(sums[row, column]))
            # Of even points, and only of these, one is 0.
            odd = float64(_NEVER) if len(zeros) and zeros[row, column] else float64(0)
            for label in range(4):
                # The states of a quantizer lie side by side, and share its points.
                first = (label & 1) * states + (label >> 1) * half
                point, cost = _point(
                    magnitude, float32(1), offsets[first], least[first], costs, table + starts[first], last
                )
                found[column, label] = point
                more = cost + (odd if label & 1 else float64(0))
                for choice in range(first, first + half):
                    step[choice] = more + total[choice & (states - 1)]
            for state in range(states):
                one, two = step[ways[0, state]], step[ways[1, state]]
                came[column, state] = two < one
                new_total[state] = min(one, two)
            total, new_total = new_total, total
        best = np.argmin(total)
        for column in range(columns - 1, -1, -1):
            origin = before[came[column, best], best]
            label = 2 * (origin // half) + ways[came[column, best], best] // states
            point = found[column, label]
            points[row, column] = point if weights[row, column] >= 0 else -point
            best = origin


@compiled
def _point(
    magnitude: float, inverse: float, offset: float, least: float, costs: Floats, begin: int, last: int
) -> tuple[float, float]:
    """Of the points of a label the nearest to a magnitude or the next towards 0, whichever costs less; and its cost.

    Points are 4 apart, but 0 may be less than 4 from its neighbour. ``begin`` is where the label's costs begin.
    """
    nearest = max(float32(4 * int32((magnitude - offset) * float32(0.25) + float32(0.5))) + offset, least)
    below = max(nearest - float32(4), least)
    nearest_error, below_error = (magnitude - nearest) * inverse, (magnitude - below) * inverse
    nearest_size, below_size = int32(nearest + float32(1)) >> 1, int32(below + float32(1)) >> 1
    nearest_cost = nearest_error * nearest_error + costs[begin + min(nearest_size, last)]
    below_cost = below_error * below_error + costs[begin + min(below_size, last)]
    if below_cost < nearest_cost:
        return below, below_cost
    return nearest, nearest_cost


@compiled
def _move(values: Floats, errors: Floats, upper: Floats, top: int, first: int) -> None:
    """Move the weights of the columns from ``first`` on by errors, a multiple of four, of those from ``top`` on."""
    end = first + len(values)
    for part in range(0, len(errors), 4):
        # Each row of the factor on its own, or the compiler does not see that it may take many columns at once.
        one, two = upper[top + part][first:end], upper[top + part + 1][first:end]
        three, four = upper[top + part + 2][first:end], upper[top + part + 3][first:end]
        by_one, by_two, by_three, by_four = errors[part], errors[part + 1], errors[part + 2], errors[part + 3]
        for k in range(len(values)):
            values[k] = values[k] - by_one * one[k] - by_two * two[k] - by_three * three[k] - by_four * four[k]


@compiled
def _spread_errors(rest: Floats, spread: Floats, points: Floats, row: int) -> None:
    """Turn a row's weights into its errors, and move the rows after it."""
    columns = rest.shape[1]
    for column in range(columns):
        rest[row, column] -= points[row, column]
    for later in range(row + 1, len(spread)):
        part = spread[row, later]
        for column in range(columns):
            rest[later, column] -= part * rest[row, column]
