"""Column offsets: what all rows of a matrix have in common is stored once.

A softmax does not change when one vector is added to all rows of its weights, so training lets that vector drift: the
columns get means of about their own standard deviation, which a grid around 0 pays for in every weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.quantize.grid.matrix import unzigzag, zigzag
from lightning_compress.quantize.grid.trellis.trellis import Integers
from lightning_compress.quantize.payload import Words

_LARGEST = 32767
_ROUNDS = 2
_OFFSET_BYTES = 1.25
_PAYLOAD_BYTES = 24.0
_EVERY, _FEWEST = 16, 64  # rows by which is seen first whether offsets may pay
_LUCK = math.log2(math.e) / 16  # bytes that a column seems to save by the mean of the very rows that are looked at
_ROUNDING = 1 / 4  # squared steps, about the error of a grid: smaller deviations take hardly fewer bits


@dataclass(frozen=True, eq=False)
class Offsets:
    """What is added to the elements of each column: unit · number.

    Attributes:
        numbers: ``[columns]`` int16.
        unit: a positive float; a power of two where :func:`choose_offsets` made it.
    """

    numbers: Integers
    unit: float

    def values(self) -> Tensor:
        """``[columns]`` float64."""
        return self.unit * torch.from_numpy(self.numbers).double()

    def words(self) -> Words:
        """``[columns]`` 2-byte words, zigzag: 0, −1, 1, −2 … → 0, 1, 2, 3 …."""
        return zigzag(self.numbers).astype(np.uint16)

    @classmethod
    def from_words(cls, words: Words, unit: float) -> Offsets:
        """The inverse of :meth:`words`."""
        return cls(unzigzag(words), unit)


def choose_offsets(weights: Tensor, scales: Tensor) -> Offsets | None:
    """Weighted means of the columns, where taking them away saves more bytes than they take.

    A weight of standard deviation σ takes log₂ σ bits more than one of 1; σ is modelled as a product of one of the row
    and one of the column, and a row counts by the inverse of its variance. Offsets are as exact as is worth its bits:
    one bit fewer in a mean of n weights costs about what it saves (Rissanen 1978, "Modeling by shortest data
    description").

    Args:
        weights: ``[rows, columns]`` float32, in units of the row's scale; no row is wholly 0, which would not stay so.
        scales: ``[rows]`` float64, positive, at most 2^8 apart.

    Returns:
        None where offsets do not pay, and for vectors.
    """
    rows, columns = weights.shape
    if min(rows, columns) < 2:
        return None
    base = float(scales.min())
    relative = (scales / base).float()
    least = _OFFSET_BYTES * columns + _PAYLOAD_BYTES
    every = min(rows // _FEWEST, _EVERY)
    if every > 1:
        saved = _means(weights[::every].contiguous(), relative[::every])[2] - _LUCK * columns
        if every * saved < least / 2:
            return None
    means, unit, saved = _means(weights, relative)
    return None if saved < least else _rounded(means.double() * base, base * unit)


def _means(weights: Tensor, relative: Tensor) -> tuple[Tensor, float, float]:
    """``[columns]`` means in units of the smallest scale, how exact they should be, and the bytes saved without them.

    Args:
        weights: ``[rows, columns]`` float32, in units of the row's scale.
        relative: ``[rows]``: the row's scale over the smallest.
    """
    rows, columns = weights.shape
    means, spread = weights.new_zeros(columns), weights.new_ones(rows)
    shifted, squares = weights.clone(), torch.empty_like(weights)
    for _ in range(_ROUNDS):
        importance = 1 / (relative.square() * spread)
        means += (importance * relative) @ shifted / importance.sum()
        torch.sub(weights, torch.div(means, relative[:, None], out=squares), out=shifted)
        spread = torch.square(shifted, out=squares).mean(1) + _ROUNDING
    before, after = (torch.square(part, out=squares).add_(_ROUNDING).T @ (1 / spread) for part in (weights, shifted))
    return means, math.sqrt(12 / float(importance.sum())), rows / 16 * float((before / after).log2().sum())


def _rounded(values: Tensor, unit: float) -> Offsets | None:
    """Multiples of the largest power of two up to ``unit``, or of the smallest that int16 multiples reach with."""
    least = max(unit, 2 * float(values.abs().max()) / _LARGEST)
    if not 0 < least < math.inf:
        return None
    unit = 2.0 ** math.floor(math.log2(least))
    numbers: NDArray[np.int16] = (values / unit).round().numpy(force=True).astype(np.int16)
    return Offsets(numbers, unit)
