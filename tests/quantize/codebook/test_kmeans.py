"""Weight clustering: nearest centroids, scopes, zeros and outliers apart, wrong values refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress import Half, KMeans, Plan, Prune, Rule, compress
from lightning_compress.errors import PlanError


def normal(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


STATE = {
    "encoder.0.weight": normal(20, 30),
    "encoder.0.extra": normal(25, 30, seed=1, scale=0.3),
    "softmax.weight": normal(40, 9, seed=3, scale=4),
}


def restored(state, *methods):
    return compress(state, Plan(Rule("*", *methods))).restore()


@pytest.mark.parametrize("start", ["quantile", "k-means++"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_weight_becomes_the_nearest_of_its_centroids(dtype, start):
    weights = normal(333).to(dtype)
    found = restored({"w": weights}, KMeans(9, start=start))["w"]
    values = found.double().unique()
    assert len(values) == 9
    nearest = (weights.double()[:, None] - values[None, :]).abs().amin(1)
    assert torch.equal((found.double() - weights.double()).abs(), nearest)


@pytest.mark.parametrize(
    ("scope", "groups"),
    [
        ("tensor", [["encoder.0.weight"], ["encoder.0.extra"], ["softmax.weight"]]),
        ("class", [["encoder.0.weight", "encoder.0.extra"], ["softmax.weight"]]),
        ("model", [list(STATE)]),
    ],
)
def test_a_scope_shares_its_centroids(scope, groups):
    found = restored(STATE, KMeans(7, scope))
    for group in groups:
        together = torch.cat([STATE[name].reshape(-1) for name in group])
        alone = restored({"w": together}, KMeans(7))["w"]
        assert torch.equal(torch.cat([found[name].reshape(-1) for name in group]), alone)


def test_zeros_stay_zero_and_are_no_part_of_the_clusters():
    weights = torch.cat([normal(500), torch.zeros(300), -torch.zeros(5)])
    found = restored({"w": weights}, KMeans(8))["w"]
    assert torch.equal(found[500:], torch.zeros(305))
    assert torch.equal(found[:500], restored({"w": weights[:500]}, KMeans(8))["w"])


def test_pruned_weights_are_zero_and_the_others_are_clustered_alone():
    weights = normal(1000)
    kept = restored({"w": weights}, Prune(0.4))["w"] != 0
    found = restored({"w": weights}, Prune(0.4), KMeans(8), Half())["w"]
    assert torch.equal(found != 0, kept)
    assert torch.equal(found[kept], restored({"w": weights[kept]}, KMeans(8))["w"])


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_outliers_are_the_share_of_largest_magnitude(scope):
    weights = torch.cat([normal(990, scale=0.1), torch.arange(10.0, 20.0)])
    found = restored({"w": weights}, KMeans(4, scope, outliers=0.01))["w"]
    assert torch.equal(found[990:], weights[990:])
    assert torch.equal(found[:990], restored({"w": weights[:990]}, KMeans(4))["w"])


def test_everything_may_be_an_outlier():
    assert torch.equal(restored({"w": STATE["softmax.weight"]}, KMeans(4, outliers=1.0))["w"], STATE["softmax.weight"])


def test_special_values_stand_apart():
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 3.4e38, 1e-45, -3.4e38])
    found = restored({"w": torch.cat([normal(50), special])}, KMeans(3))["w"]
    assert torch.equal(found[50:53].view(torch.int32), special[:3].view(torch.int32))
    assert torch.isfinite(found[53:]).all()


def test_wide_weights_beyond_float32_stand_apart():
    weights = torch.tensor([1e300, -1e300, 0.5, 0.25, 0.5], dtype=torch.float64)
    assert torch.equal(restored({"w": weights}, KMeans(2))["w"], weights)


def test_few_distinct_weights_are_exact():
    weights = torch.tensor(np.random.default_rng(0).choice([-0.3, 0.1, 0.7, 2.5], 400)).float()
    assert torch.equal(restored({"w": weights}, KMeans(4))["w"], weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 0}, "clusters is 0, expected a whole number from 1 to 4096"),
        ({"clusters": 5000}, "clusters is 5000, expected"),
        ({"clusters": 4.0}, "clusters is 4.0, expected"),
        ({"clusters": True}, "clusters is True, expected"),
        ({"clusters": 4, "scope": "row"}, "scope 'row' is unknown; write one of model, class, tensor"),
        ({"clusters": 4, "start": "random"}, "start 'random' is unknown; write one of quantile, k-means"),
        ({"clusters": 4, "outliers": 2}, "outliers is 2, expected a fraction from 0 to 1; for 1 % write 0.01"),
        ({"clusters": 4, "outliers": "1 %"}, "outliers is '1 %', expected a fraction"),
        ({"clusters": 4, "outliers": float("nan")}, "outliers is nan, expected a fraction"),
        ({"clusters": 4, "outliers": True}, "outliers is True, expected a fraction"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(PlanError, match=message):
        KMeans(**options)
