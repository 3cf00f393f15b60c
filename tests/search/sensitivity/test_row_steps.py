"""Row steps: as in the formula with many data, closer together with few, and improved by auxiliary matrices."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress.quantize.grid.matrix import row_scales
from lightning_compress.search.sensitivity.row_steps import auxiliary_matrices, row_steps

RATES = torch.logspace(-2, 2, 400, dtype=torch.float64)  # how often rows are used, in 10,000-fold range


def drawn(rates, seed=0):
    """Counts in two folds of the data."""
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.stack([rates, rates]) / 2, generator=generator)


def distortion(exponents, rates):
    """Expected squared error; the geometric mean of the steps is 1."""
    squares = torch.exp2(exponents.double() / 16)
    return float((rates * squares).sum() / squares.log().mean().exp())


def test_steps_follow_the_roots_of_certain_sensitivities():
    rates = torch.logspace(-1, 1, 64, dtype=torch.float64)
    found = row_steps(torch.stack([rates, rates]))
    octaves = found.exponents.double() / 32
    wanted = -0.5 * torch.log2(rates)
    assert found.exponents.dtype == torch.int32
    assert not (found.exponents % 8).any()
    assert float((octaves - wanted - (octaves - wanted).mean()).abs().max()) < 0.25
    assert found.distortion == pytest.approx(float((2 * rates * torch.exp2(2 * octaves)).sum()), rel=0.01)


def test_few_counts_move_steps_less_than_many():
    few, many = (row_steps(drawn(RATES * factor)).exponents for factor in (0.02, 50.0))
    assert few.max() - few.min() < many.max() - many.min()
    for exponents, factor in ((few, 0.02), (many, 50.0)):
        assert distortion(exponents, RATES) < distortion(torch.zeros(400), RATES), factor
    assert distortion(many, RATES) < 1.1 * distortion(-16 * torch.log2(RATES), RATES)


def test_uninformative_counts_leave_steps_nearly_equal():
    exponents = row_steps(drawn(torch.full((2000,), 0.5))).exponents
    assert exponents.max() - exponents.min() <= 48


def test_the_distortion_is_that_on_new_data():
    """Slightly above, since one fold chooses worse steps than both; on the same data it would be far below."""
    rates, estimated, true, on_same_data = RATES * 0.1, 0.0, 0.0, 0.0
    for seed in range(30):
        counts = drawn(rates, seed)
        found = row_steps(counts)
        squares = torch.exp2(found.exponents.double() / 16)
        estimated += found.distortion
        true += float((rates * squares).sum())
        on_same_data += float((counts.sum(0) * squares).sum())
    assert true < estimated < 1.4 * true
    assert on_same_data < 0.8 * true


def test_an_auxiliary_matrix_improves_rows_with_few_counts():
    counts, smooth = drawn(RATES * 0.02), torch.stack([RATES, RATES])
    alone, helped = row_steps(counts), row_steps(counts, [smooth])
    assert distortion(helped.exponents, RATES) < 0.7 * distortion(alone.exponents, RATES)
    assert helped.distortion < alone.distortion


def test_a_matrix_with_nothing_in_common_changes_nothing():
    counts = drawn(RATES)
    shuffled = RATES[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    assert torch.equal(row_steps(counts, [torch.stack([shuffled] * 2)]).exponents, row_steps(counts).exponents)


@pytest.mark.parametrize("part", [0, 1])
def test_one_fold_alone_is_enough(part):
    folds = torch.zeros(2, 8)
    folds[part] = torch.tensor([100.0, 10, 1, 0, 0, 0, 0, 0])
    exponents = row_steps(folds).exponents.tolist()
    assert exponents == sorted(exponents)
    assert exponents[0] < exponents[-1]


def test_steps_of_any_sensitivities_are_within_what_a_grid_holds():
    folds = torch.cat([torch.zeros(2, 3), torch.logspace(-30, 30, 61).expand(2, -1)], 1)
    found = row_steps(folds)
    assert bool((found.exponents.diff() <= 0).all())
    assert bool(row_scales(1.0, found.exponents, 64).isfinite().all())
    assert 0 < found.distortion < math.inf


def test_auxiliary_matrices_are_covered_and_have_equally_many_rows():
    full, sparse = torch.ones(2, 80), torch.ones(2, 80)
    sparse[0, 5] = 0
    small = torch.zeros(2, 63)
    found = auxiliary_matrices(
        {"head": full, "table": sparse, "other": torch.ones(2, 81), "small": small, "tiny": small + 1}
    )
    assert found.keys() == {"table"}
    assert [one is full for one in found["table"]] == [True]
