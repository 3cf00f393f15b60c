"""Magnitude keys: the bits of a float without its sign, which as an integer have the order of its magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.runtime.compiler import has_compiler_for, read_only

SIGNED_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their bytes


def magnitude_keys(weights: Tensor, double: bool = False) -> Tensor:
    """Integers with the same order as |w|: the bits of the float32 (or float64) value without its sign.

    Exact for every float type up to the chosen width. Infinity comes after all finite values, NaN last.
    """
    if double:
        return weights.double().view(torch.int64) & 0x7FFF_FFFF_FFFF_FFFF
    return weights.float().view(torch.int32) & 0x7FFF_FFFF


def key_of(magnitude: float, double: bool = False) -> int:
    """The magnitude key of one non-negative number, rounded up to the width of the keys."""
    kind = torch.float64 if double else torch.float32
    value = torch.tensor(magnitude, dtype=kind)
    if float(value) < magnitude:
        value = torch.nextafter(value, torch.tensor(float("inf"), dtype=kind))
    return int(magnitude_keys(value.reshape(1), double))


def needs_double(tensors: Sequence[Tensor]) -> bool:
    """Whether float32 keys would merge distinct magnitudes of these tensors."""
    return any(tensor.dtype == torch.float64 for tensor in tensors)


def compiled_words(weights: Tensor, double: bool, elements: int | None = None) -> NDArray[np.uint32] | None:
    """``[n]``: the words of float32 values, read only; None where compiled loops do not take them, or do not pay.

    Args:
        weights: ``[n]``, of any floating-point type.
        double: whether keys are of float64 magnitudes, which no loop takes.
        elements: of all weights that the loop is for; by default these.
    """
    if double or weights.device.type != "cpu" or not has_compiler_for(elements or len(weights)):
        return None
    return read_only(weights.detach().float().contiguous().numpy().view(np.uint32))
