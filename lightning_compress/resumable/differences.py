"""Tensors as differences to earlier ones of the same type and shape: exact, and small numbers where little changed.

Words of floating-point numbers are ordered as the numbers are, so a small change of a number is a small difference of
its words, whatever its exponent (P. Lindstrom and M. Isenburg 2006, "Fast and efficient compression of floating-point
data", section 3.2). Differences are zigzag numbers, whose upper bytes are 0 where the change is small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_compress.weights import SIGNED_WORDS


def has_difference(now: Tensor, before: Tensor) -> bool:
    """Whether one tensor can be stored as a difference to another."""
    return now.dtype == before.dtype and now.shape == before.shape and now.element_size() in SIGNED_WORDS


def difference(now: Tensor, before: Tensor) -> Tensor:
    """The difference of two tensors, in their shape; of a type of whole numbers as wide as theirs."""
    change = _ordered(now) - _ordered(before)  # modulo the number of words
    return (change << 1) ^ (change >> (8 * change.element_size() - 1))


def advanced(before: Tensor, change: Tensor) -> Tensor:
    """The tensor that a difference leads to."""
    largest = torch.iinfo(change.dtype).max
    words = _ordered(before) + (((change >> 1) & largest) ^ -(change & 1))
    return _in_order(words, before.dtype).view(before.dtype)


def _ordered(tensor: Tensor) -> Tensor:
    words = tensor.detach().cpu().contiguous().view(SIGNED_WORDS[tensor.element_size()])
    return _in_order(words, tensor.dtype)


def _in_order(words: Tensor, dtype: torch.dtype) -> Tensor:
    """Words of sign and magnitude → numbers that grow as they do, and back."""
    if not dtype.is_floating_point:
        return words
    return torch.where(words < 0, words ^ torch.iinfo(words.dtype).max, words)
