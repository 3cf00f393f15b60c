"""Dense and sparse: the few weights of largest magnitude kept apart, so that the codebook serves the rest.

Source: Kim et al. 2023, "SqueezeLLM: Dense-and-Sparse Quantization", section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.weights import smallest_magnitudes


def checked_share(method: str, share: object) -> float:
    """A share of outliers as a float.

    Raises:
        PlanError: it is no number from 0 to 1.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise PlanError(f"{method}: outliers is {share!r}, expected a fraction from 0 to 1; for 1 % write 0.01")
    return float(share)


def largest_inside(tensors: Sequence[Tensor], share: float) -> float:
    """The largest magnitude that is no outlier where this share of the weights, rounded down, may be outliers.

    Weights that tie with it stay inside; infinity where the share is 0, and −1 where every weight is an outlier.
    """
    if not share:
        return math.inf
    weights = sum(tensor.numel() for tensor in tensors)
    cut = smallest_magnitudes(tensors, [weights - math.floor(Fraction(repr(share)) * weights)])[0]
    return cut.magnitude if cut.ties else -1.0


def is_inside(weights: Tensor, bound: float) -> Tensor:
    """Which weights are finite and no larger than the bound, of the shape of the weights."""
    return weights.abs() <= min(bound, torch.finfo(weights.dtype).max)
