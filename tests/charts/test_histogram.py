"""Counting weights: independent counts, dtypes, what does not count, and ranges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress.charts import Histogram, central_range, histogram_of
from lightning_compress.errors import ChartError


def test_counts_are_those_of_numpy_over_all_tensors():
    torch.manual_seed(0)
    tensors = [torch.randn(30, 40), torch.randn(500, dtype=torch.float64).reshape(5, 100)]
    found = histogram_of(tensors, bins=11, range=(-2, 2))
    joined = np.concatenate([t.double().numpy().ravel() for t in tensors])
    counts, edges = np.histogram(joined, 11, (-2, 2))
    assert found.counts.tolist() == counts.tolist()
    assert np.allclose(found.edges, edges)
    assert found.range == (-2.0, 2.0)
    assert found.counts.sum() < joined.size  # beyond the range


def test_zeros_have_the_bin_in_the_middle():
    found = histogram_of([torch.tensor([0.0, 0.0, 0.0, 1.0, -0.5])])
    middle = len(found.counts) // 2
    assert found.counts[middle] == 3
    assert found.range == (-1.0, 1.0)
    assert found.counts.sum() == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_dtypes_count(dtype):
    assert histogram_of([torch.tensor([-1.0, 0.5, 1.0], dtype=dtype)], bins=2).counts.tolist() == [1, 2]


def test_integers_infinities_and_nan_do_not_count():
    odd = [torch.arange(9), torch.tensor([True]), torch.tensor([float("nan"), float("inf"), 0.5]), torch.empty(0)]
    assert histogram_of(odd).counts.sum() == 1
    assert histogram_of(odd).range == (-0.5, 0.5)


def test_views_and_gradients_are_taken():
    tensor = torch.arange(12.0).reshape(3, 4).t().requires_grad_()
    assert histogram_of([tensor[::2]], bins=1).counts.tolist() == [6]


@pytest.mark.parametrize("tensors", [[], [torch.zeros(3)]])
def test_nothing_or_only_zeros_lie_between_minus_one_and_one(tensors):
    found = histogram_of(iter(tensors))
    assert found.range == (-1.0, 1.0)
    assert found.counts.sum() == sum(t.numel() for t in tensors)


@pytest.mark.parametrize(("bins", "span"), [(0, (-1, 1)), (3, (1, 1)), (3, (2, 1)), (3, (0, float("inf")))])
def test_bins_and_ranges_that_make_no_sense(bins, span):
    with pytest.raises(ChartError, match=f"{bins} bins over the range"):
        histogram_of([torch.ones(1)], bins, span)


def test_edges_fit_counts():
    with pytest.raises(ChartError, match=r"give n \+ 1 edges for n counts"):
        Histogram(np.zeros(3), np.zeros(3, np.int64))


def test_central_range_leaves_the_few_largest_outside():
    values = torch.cat([torch.linspace(-1, 1, 9_990), torch.full((10,), 50.0)])
    low, high = central_range([values])
    assert low == -high
    assert 0.99 < high <= 1.0
    assert central_range([values], share=1.0) == (-50.0, 50.0)


def test_central_range_of_nothing_zeros_and_mostly_zeros():
    assert central_range([]) == (-1.0, 1.0)
    assert central_range([torch.zeros(4), torch.arange(3)]) == (-1.0, 1.0)
    assert central_range([torch.cat([torch.zeros(9_999), torch.ones(1)])]) == (-1.0, 1.0)
