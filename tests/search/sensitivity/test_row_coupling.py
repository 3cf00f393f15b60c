"""Feedback between rows: used if it has less distortion on the other fold of the data, else not."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.search.sensitivity.row_coupling import coupled_rows
from lightning_compress.search.sensitivity.row_steps import mean_square, row_steps

ROWS = 48


def folds_of(mixing, samples, seed=0):
    """Products of gradients in two folds, with the covariance ``mixing · mixingᵀ``."""
    generator = torch.Generator().manual_seed(seed)
    drawn = mixing @ torch.randn(2, ROWS, samples, generator=generator)
    return drawn @ drawn.transpose(1, 2)


def uncoupled(products):
    return row_steps(products.diagonal(dim1=1, dim2=2))


def true_distortion(exponents, spread, mixing):
    """Expected distortion on new data; the geometric mean of the steps is 1."""
    moved = spread.double() + torch.eye(ROWS, dtype=torch.float64)
    felt = (moved @ mixing.double()).square().sum(1)
    return float((felt * torch.exp2(exponents.double() / 16)).sum()) / mean_square(exponents)


def correlated(seed=1):
    """Factor of a covariance with a few directions that all rows share."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(ROWS, 6, generator=generator)
    return torch.linalg.cholesky(shared @ shared.T + 0.2 * torch.eye(ROWS))


def test_correlated_rows_compensate_each_others_errors():
    mixing = correlated()
    products = folds_of(mixing, 2000)
    steps, spread = coupled_rows(products, uncoupled(products))
    assert spread is not None
    assert torch.equal(spread, spread.triu(1))
    without = true_distortion(uncoupled(products).exponents, torch.zeros(ROWS, ROWS), mixing)
    assert true_distortion(steps.exponents, spread, mixing) < 0.5 * without
    assert not (steps.exponents % 8).any()


def test_the_distortion_is_that_on_new_data():
    mixing = correlated()
    products = folds_of(mixing, 400)
    steps, spread = coupled_rows(products, uncoupled(products))
    true = true_distortion(steps.exponents, spread, mixing) * mean_square(steps.exponents) * 800
    assert steps.distortion == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize("samples", [4, 400])
def test_chance_correlations_are_not_compensated(samples):
    """For independent rows there is nothing to gain; whatever feedback remains costs almost nothing."""
    products = folds_of(torch.eye(ROWS), samples)
    steps, spread = coupled_rows(products, uncoupled(products))
    if spread is not None:
        assert true_distortion(steps.exponents, spread, torch.eye(ROWS)) < 1.01 * ROWS
    assert samples > 4 or spread is None


@pytest.mark.parametrize("part", [0, 1])
def test_one_fold_alone_gives_no_feedback(part):
    products = folds_of(correlated(), 100)
    products[part] = 0
    before = uncoupled(products)
    steps, spread = coupled_rows(products, before)
    assert spread is None
    assert steps is before


def test_products_that_are_not_finite_give_no_feedback():
    products = folds_of(correlated(), 100)
    before = uncoupled(products)
    products[0, 3, 5] = products[0, 5, 3] = float("nan")
    steps, spread = coupled_rows(products, before)
    assert spread is None
    assert steps is before
