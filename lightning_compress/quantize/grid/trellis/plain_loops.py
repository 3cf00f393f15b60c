"""Which whole number a weight goes to where there is no trellis, by itself or with errors fed back: compiled loops."""

from __future__ import annotations

import numpy as np
from numpy import float32, int16, int32, int64, uint64

from lightning_compress.quantize.grid.trellis.error_loops import settle
from lightning_compress.quantize.grid.trellis.lane_loops import GROUP, LANES, fill, read_rows
from lightning_compress.quantize.grid.trellis.point_loops import LARGEST, ROUNDING
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers
from lightning_compress.runtime.compilation import compiled, compiled_exactly


@compiled_exactly
def choose_cheapest(weights: Floats, borders: Floats, sums: Bytes, points: Integers) -> None:
    """The nearest whole number of each weight, or the next towards 0 where that costs less.

    Args:
        weights: ``[rows, columns]`` float32, none beyond ±32760.
        borders: ``[sums, sizes]``: the next one is taken by magnitudes that are less than this above their nearest
            number of this size; the last size stands for all beyond.
        sums: ``[rows, columns]``: which borders.
        points: ``[rows, columns]`` int16, receives the numbers.
    """
    largest = borders.shape[1] - 1
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            weight = weights[row, column]
            magnitude = abs(weight)
            near = (magnitude + ROUNDING) - ROUNDING
            size = int64(near)
            size -= int64(magnitude - near < borders[sums[row, column], min(size, largest)])
            points[row, column] = int16(-size if weight < 0 else size)


@compiled
def round_rows_with_feedback(
    rest: Floats, upper: Floats, costs: Floats, symbols: int, sums: Bytes, points: Floats
) -> None:
    """Whole numbers for rows that do not depend on each other, errors fed back from column to column.

    Many rows, the lanes, take a step together. Within a group of columns each error moves the columns after it; then
    all errors of the group move the rest of the rows. Arguments as for :func:`.feedback_loops.round_with_feedback`, but
    ``rest`` is left as it is.
    """
    rows, columns = rest.shape
    weights, errors = np.empty(columns * LANES, float32), np.empty(GROUP * LANES, float32)
    for first in range(0, rows, LANES):
        here = min(LANES, rows - first)
        read_rows(rest, first, here, weights)
        for start in range(0, columns, GROUP):
            width = min(GROUP, columns - start)
            for place in range(width):
                column = start + place
                part = slice(first, first + here)
                _round_column(weights, column, upper, costs, symbols, sums[part, column], errors, place, points[part])
                for later in range(place + 1, width):
                    _move(weights, start + later, errors, place, upper[column, start + later])
            if start + width < columns:
                settle(weights, start + width, errors, upper, start)


@compiled
def _round_column(
    weights: Floats,
    column: int,
    upper: Floats,
    costs: Floats,
    symbols: int,
    sums: Bytes,
    errors: Floats,
    place: int,
    points: Floats,
) -> None:
    """Round one column of the lanes, and keep its errors at a place of the group."""
    inverse, largest = float32(1) / upper[column, column], int32(symbols - 1)
    of_weights, of_errors = uint64(column * LANES), uint64(place * LANES)
    for lane in range(len(sums)):
        weight = weights[of_weights + uint64(lane)]
        magnitude = min(abs(weight), LARGEST)
        near = np.rint(magnitude)
        below = max(near - float32(1), float32(0))
        table = 2 * symbols * int32(sums[lane])
        near_cost = ((magnitude - near) * inverse) ** 2 + costs[table + min(int32(near), largest)]
        below_cost = ((magnitude - below) * inverse) ** 2 + costs[table + min(int32(below), largest)]
        size = below if below_cost < near_cost else near
        point = size if weight >= 0 else -size
        points[lane, column] = point
        errors[of_errors + uint64(lane)] = (weight - point) * inverse
    fill(errors, int64(of_errors) + len(sums), int64(of_errors) + LANES, float32(0))


@compiled
def _move(weights: Floats, column: int, errors: Floats, place: int, factor: float) -> None:
    """Move one column of the lanes by the errors at a place of the group."""
    of_weights, of_errors = uint64(column * LANES), uint64(place * LANES)
    for lane in range(uint64(LANES)):
        weights[of_weights + lane] -= errors[of_errors + lane] * factor
