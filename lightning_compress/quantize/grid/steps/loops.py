"""Weights in units of their row's step, and the points of the grid nearest to them: compiled loops.

See :mod:`lightning_compress.quantize.grid.steps.division`, which has the same in torch for devices and machines without
a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, float64, uint32
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.point_loops import ROUNDING
from lightning_compress.runtime.compilation import compiled_exactly

_MAGNITUDE = uint32(0x7FFF_FFFF)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@compiled_exactly
def divide(matrix: Floats, scales: Doubles, offsets: Doubles, result: Floats, largest: NDArray[np.uint32]) -> None:
    """Weights less their offsets, in units of the row's scale.

    Args:
        matrix: ``[rows, columns]``.
        scales: ``[rows]``.
        offsets: ``[columns]``, or none.
        result: ``[rows, columns]``, the result.
        largest: ``[rows]``, a result: the bits of the row's largest magnitude; NaN is larger than infinity.
    """
    rows, columns = matrix.shape
    moved = len(offsets) > 0
    for row in range(rows):
        scale = scales[row]
        source, target = matrix[row], result[row]
        if moved:
            for column in range(columns):
                target[column] = float32((float64(source[column]) - offsets[column]) / scale)
        else:
            for column in range(columns):
                target[column] = float32(float64(source[column]) / scale)
        words, most = target.view(np.uint32), uint32(0)
        for column in range(columns):
            most = max(most, words[column] & _MAGNITUDE)
        largest[row] = most


@compiled_exactly
def multiply_nearest(values: Floats, scales: Doubles, offsets: Doubles) -> None:
    """Replace weights in units of the row's scale, none beyond ±32,767, by what the points nearest to them restore.

    Args:
        values: ``[rows, columns]``: the weights, and the result.
        scales: ``[rows]``.
        offsets: ``[columns]``, or none.
    """
    rows, columns = values.shape
    moved = len(offsets) > 0
    for row in range(rows):
        scale = scales[row]
        line = values[row]
        if moved:
            for column in range(columns):
                point = (line[column] + ROUNDING) - ROUNDING
                line[column] = float32(float64(point) * scale + offsets[column])
        else:
            for column in range(columns):
                point = (line[column] + ROUNDING) - ROUNDING
                line[column] = float32(float64(point) * scale)
