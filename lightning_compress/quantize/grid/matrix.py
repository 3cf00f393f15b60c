"""Tensors as matrices of grid points: their rows and columns, the scales of rows, and indices as words."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.grid.trellis.trellis import Integers
from lightning_compress.quantize.payload import Words
from lightning_compress.runtime.compiler import read_only

MAX_POINT = 32766
_FARTHEST_POINT = 1 << 15  # of int16
MAX_EXPONENT = 32000  # 2^±1000, which a float64 holds
EXPONENT_SPREAD = 255
LONGEST_PATH = 64  # columns for each row: a trellis is walked column by column, all rows at once


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix that a tensor is seen as.

    Sizes of 1 in front are dropped. Of what is left the first size is the rows, the product of the others the columns.
    """
    first = next((place for place, size in enumerate(shape) if size != 1), len(shape))
    return math.prod(shape[first : first + 1]), math.prod(shape[first + 1 :])


def row_scales(step: float, exponents: Tensor | None, rows: int) -> Tensor:
    """``[rows]`` float64: step · 2^(exponent / 32), from operations that IEEE 754 defines exactly.

    Where it is too large it is infinite.

    Args:
        step: the step.
        exponents: ``[rows]`` int32, within ±32000 and at most 255 apart; None for all 0.
        rows: how many.

    Raises:
        ValueError: exponents of another number, or out of range.
    """
    if exponents is None or not rows:
        return torch.full((rows,), step, dtype=torch.float64)
    if exponents.shape != (rows,):
        raise ValueError(f"row exponents have the shape {tuple(exponents.shape)}, expected {(rows,)}, one for each row")
    least, most = int(exponents.min()), int(exponents.max())
    if max(-least, most) > MAX_EXPONENT or most - least > EXPONENT_SPREAD:
        raise ValueError(
            f"row exponents reach from {least} to {most}, expected within ±{MAX_EXPONENT} and {EXPONENT_SPREAD} apart: "
            "bring those of extreme rows nearer to the others"
        )
    whole = exponents.numpy().astype(np.int32)
    return step * torch.from_numpy(np.ldexp(_POWERS[whole & 31], whole >> 5))


def _powers() -> NDArray[np.float64]:
    """``[32]``: 2^(k/32), the product of those roots 2^(1/2), 2^(1/4) … 2^(1/32) that the bits of k name, in order."""
    powers, root = np.ones(32), 2.0
    for bit in (16, 8, 4, 2, 1):
        root = math.sqrt(root)
        powers[np.arange(32) & bit > 0] *= root
    return powers


_POWERS = _powers()


def holds(points: Tensor, scales: Tensor, dtype: torch.dtype, offsets: Tensor | None = None) -> bool:
    """Whether every point of every row, times the scale of the row, is finite in the dtype.

    Args:
        points: ``[rows, columns]``.
        scales: ``[rows]`` float64.
        dtype: the type.
        offsets: ``[columns]`` float64; the products are also to be finite with the least and the largest of them added.
    """
    if not points.numel():
        return bool(torch.isfinite(scales).all())
    if surely_holds(_FARTHEST_POINT, scales, dtype, offsets):
        return True
    extremes = [side.double() * scales for side in points.aminmax(dim=1)]
    if offsets is not None:
        extremes += [extreme + side for extreme in extremes for side in offsets.aminmax()]
    return all(bool(torch.isfinite(extreme.to(dtype)).all()) for extreme in extremes)


def surely_holds(largest: float, scales: Tensor, dtype: torch.dtype, offsets: Tensor | None = None) -> bool:
    """Whether :func:`holds` is true whatever the points are, of which the largest magnitude is at most ``largest``."""
    reach = largest * float(scales.max()) + (0.0 if offsets is None else float(offsets.abs().max()))
    return reach < torch.finfo(dtype).max / 2


def summands(offsets: Tensor | None) -> NDArray[np.float64]:
    """Offsets as compiled loops take them: ``[columns]``, or none."""
    return read_only(np.zeros(0) if offsets is None else offsets.numpy())


def zigzag(indices: Integers) -> Words:
    """0, −1, 1, −2, 2 … → 0, 1, 2, 3, 4 …, in the narrower type that holds them."""
    words: Words = ((indices << 1) ^ (indices >> 15)).view(np.uint16)
    return words.astype(np.uint8) if int(words.max(initial=0)) < 256 else words


def unzigzag(words: Words) -> Integers:
    """The inverse, int16."""
    wide = words.astype(np.uint16)
    signed: Integers = ((wide >> 1) ^ -(wide & 1)).view(np.int16)
    return signed
