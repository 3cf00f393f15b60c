"""Matrices of points column by column, and their values: compiled loops."""

from __future__ import annotations

import numpy as np
from numpy import float32, float64, int16
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.point_loops import ROUNDING
from lightning_compress.quantize.grid.trellis.trellis import Floats, Integers
from lightning_compress.runtime.compilation import compiled_exactly

_SIDE = 32  # of a block


@compiled_exactly
def transpose(matrix: Integers, result: Integers) -> None:
    """``[rows, columns]`` → ``[columns, rows]``, block by block, as the cache likes it."""
    rows, columns = matrix.shape
    for top in range(0, rows, _SIDE):
        for left in range(0, columns, _SIDE):
            for column in range(left, min(left + _SIDE, columns)):
                for row in range(top, min(top + _SIDE, rows)):
                    result[column, row] = matrix[row, column]


@compiled_exactly
def transpose_nearest(matrix: Floats, spacing: float, result: Integers) -> None:
    """The nearest multiples of the spacing, as numbers of spacings; halves to even.

    Args:
        matrix: ``[rows, columns]``, none beyond ±32760.
        spacing: a power of two.
        result: ``[columns, rows]`` int16.
    """
    rows, columns = matrix.shape
    scale = float32(1 / spacing)
    for top in range(0, rows, _SIDE):
        for left in range(0, columns, _SIDE):
            for column in range(left, min(left + _SIDE, columns)):
                for row in range(top, min(top + _SIDE, rows)):
                    result[column, row] = int16((matrix[row, column] * scale + ROUNDING) - ROUNDING)


@compiled_exactly
def scale_points(points: Integers, scales: NDArray[np.float64], offsets: NDArray[np.float64], values: Floats) -> None:
    """Scale of the row · point + offset of the column, computed in float64 and rounded once.

    Args:
        points: ``[rows, columns]``.
        scales: ``[rows]``.
        offsets: ``[columns]``, or none.
        values: ``[rows, columns]`` float32, the result.
    """
    rows, columns = points.shape
    moved = len(offsets) > 0
    for row in range(rows):
        scale, source, target = scales[row], points[row], values[row]
        if moved:
            for column in range(columns):
                target[column] = float32(scale * float64(source[column]) + offsets[column])
        else:
            for column in range(columns):
                target[column] = float32(scale * float64(source[column]))
