"""Steps by sensitivity: finer where an error hurts more, and cheaper than equal steps at the same loss."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress import Half, Plan, Rule, Weights, compress
from lightning_compress.quantize import Grid
from lightning_compress.search.families.calibrated import calibrated_plan
from lightning_compress.search.sensitivity.bit_allocation import allocate_bits
from lightning_compress.search.sensitivity.fisher import FisherStatistics


def fisher(rows, curvature):
    """Both folds of the data are equal."""
    return FisherStatistics(torch.stack([rows, rows]) / 2, curvature)


def even(rows, columns, level):
    """Every weight alike, no two columns related."""
    return fisher(torch.full((rows,), level * columns), torch.eye(columns) * level * rows)


def graded(rows, columns, level):
    """Rows from a tenth to ten times ``level``."""
    levels = level * torch.logspace(-1, 1, rows)
    return fisher(levels * columns, torch.eye(columns) * levels.sum())


def loss(weights, sensitivities, archive):
    """Half of δ F δᵀ with F diagonal, by rows."""
    restored = archive.restore()
    errors = {w.name: w.tensor - restored[w.name] for w in weights}
    return sum(
        float((sensitivities[w.name].row_totals[:, None] / w.tensor.shape[1] * errors[w.name].square()).sum())
        for w in weights
    )


def test_steps_are_inversely_proportional_to_the_root_of_the_sensitivity():
    weights = Weights.from_state_dict({"a": torch.randn(64, 32), "b": torch.randn(64, 32)})
    found = allocate_bits(weights, {"a": even(64, 32, 1.0), "b": even(64, 32, 16.0)})
    assert found["a"].step / found["b"].step == pytest.approx(16**0.5, rel=1e-3)
    spreads = [float(w.tensor.double().std(correction=0)) for w in weights]
    mean = sum(math.log(found[w.name].step / s) for w, s in zip(weights, spreads, strict=True)) / 2
    assert mean == pytest.approx(0, abs=1e-9)
    assert not found["a"].guide.exponents.any()


@pytest.mark.parametrize("make", [even, graded])
def test_the_loss_at_equal_bytes_is_below_that_of_equal_steps(make):
    weights = Weights.from_state_dict({name: torch.randn(96, 64) for name in "abc"})
    sensitivities = {name: make(96, 64, level) for name, level in zip("abc", (0.1, 1.0, 10.0), strict=True)}
    allocations = allocate_bits(weights, sensitivities)
    guides = {name: allocation.guide for name, allocation in allocations.items()}
    ours = compress(weights, calibrated_plan(allocations, dict.fromkeys(allocations, -1.0)), guidance=guides)
    low, high = 0.05, 2.0
    for _ in range(12):
        step = math.sqrt(low * high)
        equal = compress(weights, Plan(Rule("*", Grid(step), Half())))
        low, high = (low, step) if equal.nbytes <= ours.nbytes else (step, high)
    equal = compress(weights, Plan(Rule("*", Grid(low), Half())))
    assert equal.nbytes == pytest.approx(ours.nbytes, rel=0.01)
    assert loss(weights, sensitivities, ours) < 0.8 * loss(weights, sensitivities, equal)


def test_errors_are_fed_back_along_related_columns():
    weights = Weights.from_state_dict({"a": torch.randn(64, 32)})
    inputs = torch.randn(400, 4) @ torch.randn(4, 32) + 0.3 * torch.randn(400, 32)
    curvature = inputs.T @ inputs
    found = allocate_bits(weights, {"a": fisher(torch.full((64,), float(curvature.trace()) / 64), curvature)})
    plan = calibrated_plan(found, {"a": -1.0})
    distortions = []
    for guides in ({"a": found["a"].guide}, {}):
        error = weights.weights[0].tensor - compress(weights, plan, guidance=guides).restore()["a"]
        distortions.append(float(((error @ curvature) * error).sum()))
    assert distortions[0] < 0.7 * distortions[1]


def test_what_feedback_saves_makes_the_step_larger():
    tensors = {"a": torch.randn(32, 32), "b": torch.randn(32, 32)}
    inputs = torch.randn(400, 3) @ torch.randn(3, 32)
    related = inputs.T @ inputs
    alike = torch.eye(32) * related.diagonal().mean()
    rows = torch.full((32,), float(related.trace()) / 32)
    found = allocate_bits(Weights.from_state_dict(tensors), {"a": fisher(rows, related), "b": fisher(rows, alike)})
    assert found["a"].step > 1.2 * found["b"].step


def test_tensors_that_hardly_matter_have_a_limited_step():
    weights = Weights.from_state_dict({name: torch.randn(16, 16) for name in "abcdefghij"})
    silent = {name: even(16, 16, 1e-20 if name == "j" else 1.0) for name in "abcdefghij"}
    found = allocate_bits(weights, silent)
    assert found["j"].step / found["a"].step == pytest.approx(1e4**0.5, rel=1e-3)


def test_shapes_that_do_not_fit_and_tensors_without_sensitivity_are_left_out():
    weights = Weights.from_state_dict({"a": torch.randn(8, 8), "b": torch.randn(8, 8), "c": torch.randn(5)})
    sensitivities = {
        "a": even(9, 8, 1.0),
        "b": fisher(torch.ones(8), torch.eye(7)),
        "c": fisher(torch.ones(5), None),
        "d": even(8, 8, 1.0),
    }
    found = allocate_bits(weights, sensitivities)
    assert found.keys() == {"c"}
    assert (found["c"].guide.exponents, found["c"].guide.factor) == (None, None)
    assert allocate_bits(weights, {}) == {}


@pytest.mark.parametrize("tensor", [torch.ones(16, 16), torch.zeros(16, 16), torch.full((16, 16), math.nan)])
def test_tensors_without_spread_have_a_step_all_the_same(tensor):
    found = allocate_bits(Weights.from_state_dict({"a": tensor}), {"a": even(16, 16, 1.0)})
    assert 0 < found["a"].step < math.inf


def test_statistics_of_norms_stay_exact_whatever_is_known_of_them():
    weights = Weights.from_state_dict({"norm.running_mean": torch.randn(64), "w": torch.randn(16, 16)})
    found = allocate_bits(weights, {"norm.running_mean": fisher(torch.ones(64), None), "w": even(16, 16, 1.0)})
    archive = compress(weights, calibrated_plan(found, dict.fromkeys(found, 0.0)))
    assert {e.name: e.kind for e in archive.manifest.entries} == {"norm.running_mean": "raw", "w": "grid"}
