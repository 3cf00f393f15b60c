"""k-means in one dimension against plain Lloyd, optimal quantizers of known distributions, and starts of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress.quantize.codebook import lloyd
from lightning_compress.quantize.codebook.lloyd import cluster, points


def clusters_of(values, count, start="quantile"):
    return cluster(points([torch.as_tensor(values, dtype=torch.float32)]), count, start)


def error_of(values, centroids):
    return float(np.square(values[:, None] - centroids[None, :]).min(1).sum())


def plain_rounds(values, centroids):
    """One round of Lloyd's algorithm, by the distance of every value from every centroid."""
    nearest = np.abs(values[:, None] - centroids[None, :]).argmin(1)
    return np.array([values[nearest == i].mean() for i in range(len(centroids))])


STARTS = ["quantile", "k-means++"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 40])
def test_centroids_are_a_fixed_point_of_plain_rounds(count, start):
    values = np.random.default_rng(count).normal(size=700).astype(np.float32).astype(np.float64)
    centroids = clusters_of(values, count, start)
    assert len(centroids) == count
    assert (np.diff(centroids) > 0).all()
    np.testing.assert_allclose(plain_rounds(values, centroids), centroids, rtol=0, atol=1e-12)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("levels", "distortion"), [(2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497)])
def test_normal_weights_meet_the_optimal_quantizers_of_lloyd_and_max(levels, distortion, start):
    values = np.random.default_rng(0).normal(size=1_000_000)
    centroids = clusters_of(values, levels, start)
    borders = (centroids[1:] + centroids[:-1]) / 2
    error = float(np.square(values - centroids[np.searchsorted(borders, values)]).mean())
    assert error == pytest.approx(distortion, rel=0.01)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), st.integers(1, 70), st.sampled_from(STARTS))
def test_error_never_grows_with_clusters_that_plain_rounds_would_move(values, count, start):
    exact = np.array(values, np.float32).astype(np.float64)
    centroids = clusters_of(values, count, start)
    distinct = len(np.unique(exact))
    assert len(centroids) == min(count, distinct)
    if count >= distinct:
        assert np.array_equal(centroids, np.unique(exact))
    assert error_of(exact, centroids) <= error_of(exact, np.array([exact.mean()])) * (1 + 1e-9)


def test_many_weights_are_clustered_like_few(monkeypatch):
    values = torch.randn(60_000, generator=torch.Generator().manual_seed(0)) * 0.05
    exact = cluster(points([values]), 16, "k-means++")
    monkeypatch.setattr(lloyd, "_SORTED", 10_000)
    monkeypatch.setattr(lloyd, "_CHUNK", 7_000)
    counted = points([values[:25_000], values[25_000:]])
    assert counted.counts.sum() == 60_000
    assert len(counted.values) < 60_000
    assert (np.diff(counted.values) > 0).all()
    assert float((counted.values * counted.counts).sum()) == pytest.approx(float(values.double().sum()), abs=1e-6)
    spread = values.double().numpy()
    assert error_of(spread, cluster(counted, 16, "k-means++")) == pytest.approx(error_of(spread, exact), rel=0.01)


def test_counted_values_stand_near_their_weights(monkeypatch):
    monkeypatch.setattr(lloyd, "_SORTED", 0)
    values = torch.tensor([1.0, -1.0, 3e38, -1e-30, 1.0002, 0.5])
    found = points([values]).values
    for value in values.tolist():
        assert np.abs(found / value - 1).min() < 2**-11


@pytest.mark.parametrize("start", STARTS)
def test_rare_large_weights_find_a_cluster(start):
    values = np.r_[np.random.default_rng(1).normal(size=5000), [50.0, -50.0]]
    centroids = clusters_of(values, 8, start)
    assert np.abs(centroids).max() == pytest.approx(50)


def test_no_weights_have_no_clusters():
    assert len(cluster(points([]), 4, "quantile")) == 0
