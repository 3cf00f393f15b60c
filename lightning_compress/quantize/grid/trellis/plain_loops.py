"""Which whole number a weight goes to where bits count and there is no trellis: a compiled loop."""

from __future__ import annotations

import numpy as np
from numpy import int16, int64

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers
from lightning_compress.runtime.compilation import compiled_exactly


@compiled_exactly
def choose_cheapest(weights: Floats, table: Floats, sizes: int, sums: Bytes, points: Integers) -> None:
    """The nearest whole number of each weight or the next towards 0, whichever costs less by error² + table.

    Args:
        weights: ``[rows, columns]`` float32, none beyond ±32760.
        table: ``[sums · 2 · sizes]``: cost of each magnitude; the last of a table stands for all beyond.
        sizes: how many magnitudes a table has.
        sums: ``[rows, columns]``: which table.
        points: ``[rows, columns]`` int16, receives the numbers.
    """
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            magnitude = abs(weights[row, column])
            near = np.rint(magnitude)
            size = int64(near)
            if size:
                begin, error = 2 * sizes * int64(sums[row, column]), magnitude - near
                below_error = magnitude - (near - np.float32(1))
                cost = error * error + table[begin + min(size, sizes - 1)]
                if below_error * below_error + table[begin + min(size - 1, sizes - 1)] < cost:
                    size -= 1
            points[row, column] = int16(-size if weights[row, column] < 0 else size)
