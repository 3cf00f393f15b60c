"""Spearman's rank correlation.

Source: C. Spearman 1904, "The proof and measurement of association between two things".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's correlation of the ranks, −1 to 1; equal values share their mean rank.

    Args:
        first: numbers of any shape; infinities rank at the ends, and pairs with a NaN are left out.
        second: equally many numbers.

    Returns:
        NaN if fewer than two pairs remain, or one side is constant.
    """
    pairs = np.stack([np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()])
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    if pairs.shape[1] < 2:
        return math.nan
    ranks = np.stack([_ranks(side) for side in pairs])
    deviations = ranks - ranks.mean(1, keepdims=True)
    spread = float(np.sqrt((deviations**2).sum(1).prod()))
    return float((deviations[0] * deviations[1]).sum() / spread) if spread else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return mean
