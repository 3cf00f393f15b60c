"""Which whole number a weight goes to where bits count and there is no trellis: a compiled loop."""

from __future__ import annotations

from numpy import float32, int16, int64

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers
from lightning_compress.runtime.compilation import compiled_exactly

ROUNDING = float32(1.5 * 2**23)  # added and taken away it rounds to whole numbers, halves to even, up to 2^22


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
