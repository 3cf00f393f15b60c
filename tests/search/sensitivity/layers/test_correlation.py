"""Spearman's rank correlation against counting, by hand and by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_compress.search.sensitivity.layers.correlation import rank_correlation


def by_counting(x, y):
    """Pearson's correlation of ranks, each rank counted one by one."""

    def ranks(values):
        return [sum(v < u for v in values) + (1 + sum(v == u for v in values)) / 2 for u in values]

    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_counting_gives_with_ties_too(seed):
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 6, 20).tolist(), generator.integers(0, 6, 20).tolist()
    assert rank_correlation(x, y) == pytest.approx(by_counting(x, y), abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [1, 10, 1000], 1.0),
        ([1, 2, 3], [5, 4, -math.inf], -1.0),
        ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),
        ([[1, 2], [math.nan, 3]], [[1, 2], [0, math.inf]], 1.0),
    ],
)
def test_known_values(x, y, expected):
    assert rank_correlation(x, y) == pytest.approx(expected)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1], [1]), ([1, 1, 1], [1, 2, 3]), ([1, math.nan], [1, 2])])
def test_constant_or_too_few_values_have_none(x, y):
    assert math.isnan(rank_correlation(x, y))
