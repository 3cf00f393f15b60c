"""Steps of rows that make up for each other: taken where the other half of the data bears them out, else not."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.search.sensitivity.row_coupling import coupled_rows
from lightning_compress.search.sensitivity.row_steps import mean_square, row_steps

ROWS = 48


def halves_of(mixing, samples, seed=0):
    """Products of two halves of gradients whose covariance is ``mixing · mixingᵀ``."""
    generator = torch.Generator().manual_seed(seed)
    drawn = mixing @ torch.randn(2, ROWS, samples, generator=generator)
    return drawn @ drawn.transpose(1, 2)


def alone(products):
    return row_steps(products.diagonal(dim1=1, dim2=2))


def true_harm(exponents, spread, mixing):
    """For data without end; the geometric mean of the steps being 1."""
    moved = spread.double() + torch.eye(ROWS, dtype=torch.float64)
    felt = (moved @ mixing.double()).square().sum(1)
    return float((felt * torch.exp2(exponents.double() / 16)).sum()) / mean_square(exponents)


def correlated(seed=1):
    """A few directions in which all rows act together."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(ROWS, 6, generator=generator)
    return torch.linalg.cholesky(shared @ shared.T + 0.2 * torch.eye(ROWS))


def test_rows_that_act_together_make_up_for_each_other():
    mixing = correlated()
    products = halves_of(mixing, 2000)
    steps, spread = coupled_rows(products, alone(products))
    assert spread is not None
    assert torch.equal(spread, spread.triu(1))
    without = true_harm(alone(products).exponents, torch.zeros(ROWS, ROWS), mixing)
    assert true_harm(steps.exponents, spread, mixing) < 0.5 * without
    assert not (steps.exponents % 8).any()


def test_the_harm_is_told_for_data_that_were_not_seen():
    mixing = correlated()
    products = halves_of(mixing, 400)
    steps, spread = coupled_rows(products, alone(products))
    true = true_harm(steps.exponents, spread, mixing) * mean_square(steps.exponents) * 800
    assert steps.harm == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize("samples", [4, 400])
def test_what_chance_shows_is_not_made_up_for(samples):
    """Of rows that have nothing in common there is nothing to gain; what feedback is left does no harm."""
    products = halves_of(torch.eye(ROWS), samples)
    steps, spread = coupled_rows(products, alone(products))
    if spread is not None:
        assert true_harm(steps.exponents, spread, torch.eye(ROWS)) < 1.01 * ROWS
    assert samples > 4 or spread is None


@pytest.mark.parametrize("part", [0, 1])
def test_one_half_alone_tells_of_no_feedback(part):
    products = halves_of(correlated(), 100)
    products[part] = 0
    before = alone(products)
    steps, spread = coupled_rows(products, before)
    assert spread is None
    assert steps is before


def test_products_that_are_not_numbers_tell_of_no_feedback():
    products = halves_of(correlated(), 100)
    before = alone(products)
    products[0, 3, 5] = products[0, 5, 3] = float("nan")
    steps, spread = coupled_rows(products, before)
    assert spread is None
    assert steps is before
