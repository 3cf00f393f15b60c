"""Weights in units of their row's step, and what the points of the grid nearest to them restore."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_compress.quantize.grid.matrix import summands
from lightning_compress.quantize.grid.walk import scaled_points
from lightning_compress.runtime.compiler import loops_take, read_only

_CHUNK = 1 << 16
LARGEST = 32760.0  # magnitude of a weight, in steps; points of a trellis may lie a little further out


def in_steps(
    matrix: Tensor, scales: Tensor, offsets: Tensor | None = None, zeros: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights less their offsets, in units of the row's scale.

    Args:
        matrix: ``[rows, columns]``.
        scales: ``[rows]`` float64, on its device.
        offsets: ``[columns]`` float64, on its device; None for none.
        zeros: ``[rows, columns]`` bool: where the result is 0; None for nowhere.

    Returns:
        ``[rows, columns]`` float32; and ``[rows]`` float32, the largest magnitude of each row, NaN if one is.
    """
    result, largest = torch.empty(matrix.shape, device=matrix.device), torch.empty(len(matrix), device=matrix.device)
    if zeros is None and _is_compiled_for(matrix):
        from lightning_compress.quantize.grid.steps.loops import divide

        bits = largest.numpy().view(np.uint32)
        divide(read_only(matrix.numpy()), read_only(scales.numpy()), summands(offsets), result.numpy(), bits)
        return result, largest
    size = max(1, _CHUNK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), size):
        part = slice(start, start + size)
        result[part] = (matrix[part] if offsets is None else matrix[part] - offsets) / scales[part, None]
        if zeros is not None:
            result[part].masked_fill_(zeros[part], 0)
        largest[part] = result[part].abs().amax(1)
    return result, largest


def within(largest: Tensor) -> bool:
    """Whether a grid reaches the largest magnitudes, in steps; NaN is beyond it."""
    return bool((largest <= LARGEST).all())


def nearest_values(weights: Tensor, scales: Tensor, offsets: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What the points nearest to weights restore; halves go to the even point.

    Args:
        weights: ``[rows, columns]`` float32 of :func:`in_steps`, which a grid reaches; not to be used afterwards.
        scales: ``[rows]`` float64, on their device.
        offsets: ``[columns]`` float64, on their device; None for none.
        dtype: of the result, which holds the values.
    """
    if dtype == torch.float32 and _is_compiled_for(weights):
        from lightning_compress.quantize.grid.steps.loops import multiply_nearest

        multiply_nearest(weights.numpy(), read_only(scales.numpy()), summands(offsets))
        return weights
    return scaled_points(weights.round().to(torch.int16), scales, offsets, dtype)


def _is_compiled_for(matrix: Tensor) -> bool:
    """Whether the compiled loops take the matrix, and are worth their compilation."""
    return loops_take(matrix) and matrix.is_contiguous()
