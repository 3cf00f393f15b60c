"""The correction of a matrix: least squares, and how far it is trusted."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.search.propagation import correction as module
from lightning_compress.search.propagation.correction import correction

ROWS, COLUMNS = 5, 16


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def pairs_of(change, count=6, size=200):
    """Pairs of normal inputs and of what ``change`` makes of them."""
    inputs = [torch.randn(size, COLUMNS) for _ in range(count)]
    return [(x, change(x)) for x in inputs]


def loss(weight, corrected, pairs):
    """Squared difference of the outputs, of one output."""
    return float(sum((x @ weight.T - y @ corrected.T).square().mean() for x, y in pairs)) / len(pairs)


def test_a_linear_change_of_the_inputs_is_undone():
    weight, scales = torch.randn(ROWS, COLUMNS), torch.linspace(0.5, 1.5, COLUMNS)
    pairs = pairs_of(lambda x: x * scales)
    corrected = weight + correction(weight, pairs)
    assert loss(weight, corrected, pairs) < 0.02 * loss(weight, weight, pairs)
    torch.testing.assert_close(corrected, weight / scales, atol=0.3, rtol=0)


def test_it_is_the_regularized_least_squares_solution_where_both_halves_agree():
    weight = torch.randn(ROWS, COLUMNS)
    mixing = torch.eye(COLUMNS) + 0.2 * torch.randn(COLUMNS, COLUMNS)
    half = pairs_of(lambda x: x @ mixing, count=3)
    pairs = [pair for pair in half for _ in range(2)]  # every second one is in the same half, so the halves are equal
    x, y = (torch.cat(side).double() for side in zip(*pairs, strict=True))
    damped = y.T @ y + 0.05 * (y.T @ y).diagonal().mean() * torch.eye(COLUMNS, dtype=torch.float64)
    whole = torch.linalg.solve(damped, (weight.double() @ ((x - y).T @ y)).T).T
    found = correction(weight, pairs).double()
    share = float((found * whole).sum() / whole.square().sum())
    torch.testing.assert_close(found, share * whole, rtol=1e-3, atol=1e-4)
    assert share == pytest.approx(1.0, abs=0.02)


def test_equal_inputs_need_none():
    weight = torch.randn(ROWS, COLUMNS)
    assert not correction(weight, pairs_of(lambda x: x.clone())).any()


def test_what_the_other_half_does_not_confirm_is_not_applied():
    """Few inputs, whose difference has nothing to do with them: the whole correction would do harm."""
    weight = torch.randn(ROWS, COLUMNS)
    few, many = ([(x + torch.randn_like(x), x) for x, _ in pairs_of(torch.clone, 2, size)] for size in (10, 4000))
    halves = [module._moments(few[k::2]) for k in (0, 1)]
    whole = module._solved(weight.double(), *(a + b for a, b in zip(*halves, strict=True))).float()
    nothing, applied = loss(weight, weight, many), loss(weight, weight + correction(weight, few), many)
    assert loss(weight, weight + whole, many) > 1.5 * nothing
    assert applied < 1.05 * nothing


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_give_none(broken):
    weight, pairs = torch.randn(ROWS, COLUMNS), pairs_of(lambda x: 2 * x)
    pairs[1][1][0, 0] = broken
    assert not correction(weight, pairs).any()


def test_one_pair_and_inputs_of_zeros_give_none():
    weight = torch.randn(ROWS, COLUMNS)
    assert not correction(weight, pairs_of(lambda x: 2 * x, count=1)).any()
    assert not correction(weight, []).any()
    assert not correction(weight, pairs_of(torch.zeros_like)).any()
