"""Points of rows, one after the other, with the errors fed back: compiled loops.

What a weight becomes depends on every weight before it, in its row and in the rows above; there is nothing that arrays
as a whole could do at once. All arrays of floating-point numbers that come and go are float32. Elements are copied one
by one, since numba takes seconds to compile assignments to slices.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, int32

from lightning_compress.quantize.grid.trellis.point_loops import LARGEST, NEVER, TrellisTables, cheaper_point
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats
from lightning_compress.runtime.compilation import compiled

_BLOCK = 64  # columns after which only the best path of a row goes on
_GROUP = 8  # columns whose errors reach the rest of the block together


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
        for column in range(columns):
            value[column] = rest[row, column]
        for column in range(columns):
            inverse = float32(1) / upper[column, column]
            magnitude = min(abs(value[column]), LARGEST)
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
        for column in range(columns):
            value[column] = rest[row, column]
        for state in range(states):
            total[state] = NEVER
        total[0] = 0
        for start in range(0, columns, _BLOCK):
            width = min(_BLOCK, columns - start)
            for state in range(states):
                for place in range(width):
                    values[state, place] = value[start + place]
            for first in range(0, width, _GROUP):
                end = min(first + _GROUP, width)
                for state in range(states):
                    for place in range(first, end):
                        near[state, place - first] = values[state, place]
                for place in range(first, end):
                    column = start + place
                    inverse = float32(1) / upper[column, column]
                    table = int32(2 * symbols * int32(sums[row, column]))
                    for state in range(states):
                        magnitude = min(abs(near[state, place - first]), LARGEST)
                        for choice in (state, states + state):
                            point, cost = cheaper_point(
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
                        for place in range(end, width):
                            new_values[state, place] = values[origin, place]
                        _move(new_values[state, end:width], made[:_GROUP], upper, start + first, start + end)
                    values, new_values = new_values, values
            best = 0
            for state in range(1, states):
                if total[state] < total[best]:
                    best = state
            for state in range(states):
                total[state] = NEVER
            total[best] = 0
            for place in range(width - 1, -1, -1):
                points[row, start + place], made[place] = chosen[place, best], errors[place, best]
                best = origins[place, best]
            if start + width < columns:
                _move(value[start + width :], made, upper, start, start + width)
        _spread_errors(rest, spread, points, row)


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
