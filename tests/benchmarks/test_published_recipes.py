"""The recipes of others: each does what its source says, on small matrices."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.published.__main__ import bits_at
from benchmarks.published.cerwu import cerwu
from benchmarks.published.code_length import adaptive_bits, matrix_bits
from benchmarks.published.entropack import entropack, nearest_points
from benchmarks.published.feedback import rounded_columns
from benchmarks.published.linear_maps import damped
from benchmarks.published.watersic import watersic


@pytest.fixture
def maps():
    """One matrix whose inputs are correlated and of different power."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 48, dtype=torch.float64, generator=draws) @ torch.randn(
        48, 48, dtype=torch.float64, generator=draws
    )
    inputs = inputs * torch.logspace(-1, 1, 48, dtype=torch.float64)
    return SimpleNamespace(
        weights={"w": torch.randn(256, 48, dtype=torch.float64, generator=draws)},
        moments={"w": inputs.T @ inputs / len(inputs)},
    )


def loss(maps, rounded):
    error = maps.weights["w"] - rounded.weights["w"]
    return float((error @ maps.moments["w"] * error).sum())


def test_the_code_length_is_that_of_an_adaptive_coder():
    values = np.array([2, 0, 2, 2, 5, 0])
    groups = np.array([0, 0, 1, 0, 1, 1])
    alphabet, bits, counts = [0, 2, 5], 0.0, {0: [0.5] * 3, 1: [0.5] * 3}
    for group, value in zip(groups, values, strict=True):
        known = counts[group]
        bits -= math.log2(known[alphabet.index(value)] / sum(known))
        known[alphabet.index(value)] += 1
    assert adaptive_bits(groups, values) == pytest.approx(bits)


def test_a_matrix_is_coded_by_the_groups_that_differ():
    draws = np.random.default_rng(0)
    by_columns = draws.integers(-8, 9, (300, 6)) // np.array([1, 1, 4, 4, 9, 9])
    assert matrix_bits(by_columns) == pytest.approx(matrix_bits(by_columns.T))
    assert matrix_bits(by_columns) < adaptive_bits(np.zeros(1800, np.int64), by_columns.ravel()) - 300


def test_points_of_the_lattice_are_the_nearest():
    vectors = torch.randn(20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = nearest_points(vectors)
    near = torch.tensor(list(itertools.product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=8)))
    near = near[near.sum(1).remainder(2) == 0].double()
    for offset in (0.0, 0.5):
        distances = (vectors[:, None] - near - offset).square().sum(2).amin(1)
        assert bool(((vectors - found).square().sum(1) <= distances + 1e-12).all())
    assert bool((found.sum(1).remainder(2) == 0).all())


def test_error_feedback_loses_only_the_rounding_of_each_column(maps):
    matrix = maps.weights["w"]
    lower = torch.linalg.cholesky(maps.moments["w"])
    made = []

    def choose(column, values):
        made.append((column, values))
        return values.round()

    error = matrix - rounded_columns(matrix, lower, choose)
    own = sum(float(((values - values.round()) * lower[column, column]).square().sum()) for column, values in made)
    assert [column for column, _ in made] == list(range(47, -1, -1))
    assert float((error @ maps.moments["w"] * error).sum()) == pytest.approx(own)


def test_steps_of_columns_lose_less_than_equal_ones_at_the_same_bits(maps):
    equal, own = watersic(maps, -3.0, equal_steps=True), watersic(maps, -3.0)
    for rounded in (equal, own):
        assert rounded.bits / maps.weights["w"].numel() == pytest.approx(3.0, abs=0.6)
    assert loss(maps, own) < 0.7 * loss(maps, equal)


def test_a_larger_multiplier_takes_fewer_bits_and_loses_more(maps):
    weak, strong = (cerwu(maps, strength, indices=32) for strength in (-4.0, 2.0))
    assert strong.bits < 0.9 * weak.bits
    assert loss(maps, strong) > 1.5 * loss(maps, weak)
    step = 2 * float(maps.weights["w"].abs().max()) / 32
    assert float((weak.weights["w"] / step - (weak.weights["w"] / step).round()).abs().max()) < 1e-9


def test_the_lattice_takes_the_bits_that_are_asked_for(maps):
    two, four = entropack(maps, -2.0), entropack(maps, -4.0)
    size = maps.weights["w"].numel()
    assert two.bits / size == pytest.approx(2.0, abs=0.05)
    assert four.bits / size == pytest.approx(4.0, abs=0.05)
    errors = [float((maps.weights["w"] - one.weights["w"]).square().mean()) for one in (two, four)]
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.25)
    # A scalar quantizer with an ideal coder loses 2π e / 12 times what is possible, at high rates.
    assert errors[1] < math.pi * math.e / 6 * 2.0**-8


def test_unused_columns_do_not_make_the_moments_singular():
    moments = torch.diag(torch.tensor([4.0, 0.0, 2.0], dtype=torch.float64))
    assert damped(moments, 0.5).diagonal().tolist() == [5.0, 3.0, 3.0]


def test_bits_are_interpolated_between_two_files():
    assert bits_at(lambda strength: (-2 * strength, 0.01 * 4.0**strength), 0.01, -1.0) == pytest.approx(0.0, abs=1e-9)
    assert bits_at(lambda _: (1.0, 1.0), 0.01, 0.0) is None
