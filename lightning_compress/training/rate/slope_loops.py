"""The slope of the code length of each weight: a compiled loop.

See :meth:`lightning_compress.training.rate.code_lengths.CodeLengths.gradient`, which has the same in torch for devices
and machines without a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled

Floats = NDArray[np.float32]


@compiled
def take_slopes(
    matrix: Floats, offsets: Floats, scales: Floats, contexts: NDArray[np.uint8], slopes: Floats, result: Floats
) -> None:
    """Bits per unit of each weight.

    Args:
        matrix: ``[rows, columns]``.
        offsets: ``[columns]``.
        scales: ``[rows]``: the step of each row.
        contexts: ``[rows, columns]``.
        slopes: ``[contexts, cells]``: bits from each whole number of steps to the next; 0 is the lower end of the cell
            in the middle.
        result: ``[rows, columns]``, the result.
    """
    rows, columns = matrix.shape
    cells = slopes.shape[1]
    for row in range(rows):
        inverse = float32(1) / scales[row]
        for column in range(columns):
            place = (matrix[row, column] - offsets[column]) * inverse
            cell = int64(np.floor(place)) + cells // 2
            cell = min(max(cell, 0), cells - 1)
            share = min(float32(2) * abs(place), float32(1))
            result[row, column] = slopes[contexts[row, column], cell] * share * inverse
