"""What the errors of earlier columns do to the weights of later ones, for many rows at a time: compiled loops.

Four columns are moved by four errors at a time, so that an error is loaded once for all of them.
"""

from __future__ import annotations

from numpy import uint64

from lightning_compress.quantize.grid.trellis.lane_loops import GROUP, LANES, PAST
from lightning_compress.quantize.grid.trellis.trellis import Floats
from lightning_compress.runtime.compilation import compiled


@compiled
def begin(window: Floats, weights: Floats, past: Floats, upper: Floats, start: int, width: int, states: int) -> None:
    """The weights of a group of columns, for each state moved by the errors of the last groups on its path."""
    lanes, earliest = uint64(LANES), start - PAST * GROUP
    by = uint64(states) * lanes
    for place in range(width):
        for state in range(states):
            _copy(weights, uint64(start + place) * lanes, window, uint64(place * states + state) * lanes)
    for state in range(states):
        for each in range(max(-earliest, 0), PAST * GROUP, 4):
            of_one = uint64(each * states + state) * lanes
            for place in range(0, width - width % 4, 4):
                target = uint64(place * states + state) * lanes
                _subtract_from_four(window, target, by, past, of_one, by, upper, earliest + each, start + place)
            for place in range(width - width % 4, width):
                target = uint64(place * states + state) * lanes
                _subtract_four(window, target, past, of_one, by, upper, earliest + each, start + place)


@compiled
def settle(weights: Floats, column: int, errors: Floats, upper: Floats, first: int) -> None:
    """Move the weights of all columns from one on by the errors ``[group, lanes]`` of the columns from ``first`` on."""
    lanes, columns = uint64(LANES), len(upper)
    end = columns - (columns - column) % 4
    for each in range(0, GROUP, 4):
        of_one = uint64(each) * lanes
        for place in range(column, end, 4):
            _subtract_from_four(
                weights, uint64(place) * lanes, lanes, errors, of_one, lanes, upper, first + each, place
            )
        for place in range(end, columns):
            _subtract_four(weights, uint64(place) * lanes, errors, of_one, lanes, upper, first + each, place)


@compiled
def _copy(values: Floats, source: int, result: Floats, target: int) -> None:
    for lane in range(uint64(LANES)):
        result[target + lane] = values[source + lane]


@compiled
def _subtract_four(
    values: Floats, target: int, errors: Floats, of_one: int, by: int, upper: Floats, row: int, column: int
) -> None:
    """Take four errors, which lie ``by`` apart, times their factors from the values of a column."""
    a, b, c, d = _four(upper, row, column)
    of_two, of_three = of_one + by, of_one + by + by
    of_four = of_three + by
    for lane in range(uint64(LANES)):
        values[target + lane] = (
            values[target + lane]
            - errors[of_one + lane] * a
            - errors[of_two + lane] * b
            - errors[of_three + lane] * c
            - errors[of_four + lane] * d
        )


@compiled
def _subtract_from_four(
    values: Floats,
    target: int,
    apart: int,
    errors: Floats,
    of_one: int,
    by: int,
    upper: Floats,
    row: int,
    column: int,
) -> None:
    """The same for four columns, whose values lie ``apart``: an error is loaded once for all of them."""
    a1, b1, c1, d1 = _four(upper, row, column)
    a2, b2, c2, d2 = _four(upper, row, column + 1)
    a3, b3, c3, d3 = _four(upper, row, column + 2)
    a4, b4, c4, d4 = _four(upper, row, column + 3)
    of_two, of_three = of_one + by, of_one + by + by
    of_four = of_three + by
    second, third = target + apart, target + apart + apart
    fourth = third + apart
    for lane in range(uint64(LANES)):
        a, b, c, d = errors[of_one + lane], errors[of_two + lane], errors[of_three + lane], errors[of_four + lane]
        one = values[target + lane] - a * a1 - b * b1 - c * c1 - d * d1
        two = values[second + lane] - a * a2 - b * b2 - c * c2 - d * d2
        three = values[third + lane] - a * a3 - b * b3 - c * c3 - d * d3
        four = values[fourth + lane] - a * a4 - b * b4 - c * c4 - d * d4
        values[target + lane] = one
        values[second + lane] = two
        values[third + lane] = three
        values[fourth + lane] = four


@compiled
def _four(upper: Floats, row: int, column: int) -> tuple[float, float, float, float]:
    """The factors of four rows for a column."""
    return upper[row, column], upper[row + 1, column], upper[row + 2, column], upper[row + 3, column]
