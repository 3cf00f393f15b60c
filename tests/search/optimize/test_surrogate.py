"""The probability of feasibility, from the drops of other files."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress.search.optimize.surrogate import Surrogate
from lightning_compress.search.optimize.trial_data import TrialData

MAX_DROP = 0.3


def without_parts(points, deviation=0.0):
    """Trials of a model without parts: ``(logarithm of bytes, drop)`` each."""
    sizes, drops = zip(*points, strict=True)
    return TrialData(column(sizes), column(drops)[:, 0], column([1.0])[0], MAX_DROP, deviation)


def column(sizes):
    return torch.tensor(list(sizes), dtype=torch.float64)[:, None]


def in_parts(files, shares):
    """Trials of a model with parts: ``(coordinates, drop)`` each."""
    coordinates, drops = zip(*files, strict=True)
    return TrialData(*(torch.tensor(values, dtype=torch.float64) for values in (coordinates, drops, shares)), MAX_DROP)


def feasibility_in_parts(files, shares, *coordinates):
    return (
        Surrogate(in_parts(files, shares))
        .probability_of_feasibility(torch.tensor(coordinates, dtype=torch.float64))
        .tolist()
    )


@pytest.mark.parametrize("rate", [2.0, 3.3, 6.0])
def test_a_power_law_is_recovered_from_three_points(rate):
    known = without_parts((size, 0.5 * math.exp(-rate * (size - 12.0))) for size in (11.5, 11.9, 12.4))
    truth = 12.0 - math.log(0.3 / 0.5) / rate
    smaller, larger = Surrogate(known).probability_of_feasibility(column([truth - 0.1, truth + 0.1]))
    assert smaller < 0.2
    assert larger > 0.8


@pytest.mark.parametrize("allowed", [0.0, MAX_DROP])
def test_a_smaller_file_is_never_more_probably_feasible(allowed):
    drops = torch.tensor([0.1, 0.5, 0.2, math.inf], dtype=torch.float64)
    known = TrialData(column([12.0, 11.8, 11.5, 11.0]), drops, column([1.0])[0], allowed)
    found = Surrogate(known).probability_of_feasibility(column(torch.linspace(10.01, 14.0, 50).tolist()))
    assert bool((found.diff() >= -1e-9).all())
    assert 0 <= float(found.min()) < 0.1
    assert 0.4 < float(found.max()) <= 1


def test_one_outlier_changes_the_posterior_little():
    points = [(size, 0.5 * math.exp(-4 * (size - 12.0))) for size in (11.6, 11.8, 12.0, 12.2)]
    here = column([11.5, 11.7, 12.0])
    with_outlier = without_parts([*points, (11.71, -0.1)], deviation=0.1)
    assert (
        float(
            (
                Surrogate(without_parts(points, 0.1)).probability_of_feasibility(here)
                - Surrogate(with_outlier).probability_of_feasibility(here)
            )
            .abs()
            .max()
        )
        < 0.2
    )


def test_the_amplitude_is_learned_from_the_trials():
    """Noisy drops leave some probability below an infeasible file; drops on a smooth function leave none."""
    even = [(12.0 - step, 0.3 * 1.5 ** (step / 0.1)) for step in (-0.2, -0.1, 0.05, 0.1)]
    uneven = [(size, drop + deviation) for (size, drop), deviation in zip(even, (0.2, -0.15, -0.2, 0.2), strict=True)]
    below = column([11.85])
    assert float(Surrogate(without_parts(even)).probability_of_feasibility(below)) < 0.02
    assert float(Surrogate(without_parts(uneven)).probability_of_feasibility(below)) > 0.05


def test_a_deviation_of_the_exact_weights_is_distinguished_from_a_drop():
    """Where drops are alike at all sizes, much smaller files may be feasible too; where drops rise, they are not."""
    sizes, smaller = (12.5, 12.4, 12.3, 12.2), column([11.8])
    flat = without_parts(zip(sizes, (0.26, 0.34, 0.1, 0.4), strict=True))
    rising = without_parts(zip(sizes, (0.1, 0.26, 0.34, 0.4), strict=True))
    assert float(Surrogate(flat).probability_of_feasibility(smaller)) > 0.15
    assert float(Surrogate(rising).probability_of_feasibility(smaller)) < 0.05


LINE = [((12.6, 12.6), 0.1), ((12.3, 12.3), 0.45), ((12.0, 12.0), 0.6), ((11.7, 11.7), 0.95)]


def test_the_deviation_of_a_file_is_shared_through_equal_parts():
    low, high = [*LINE, ((12.2, 12.2), 0.15)], [*LINE, ((12.2, 12.2), 0.8)]
    kept, fresh = (12.1, 12.2), (12.1, 12.21)
    low_kept, low_fresh = feasibility_in_parts(low, [0.3, 0.7], kept, fresh)
    high_kept, high_fresh = feasibility_in_parts(high, [0.3, 0.7], kept, fresh)
    assert low_kept > low_fresh + 0.2
    assert high_kept < high_fresh - 0.1


def test_a_larger_equal_part_shares_more_of_the_deviation():
    low = [*LINE, ((12.2, 12.2), 0.0)]
    larger, smaller = ((12.0, 12.2), (12.2, 12.0))
    found = feasibility_in_parts(low, [0.2, 0.8], larger, smaller)
    assert found[0] > found[1] + 0.2


def test_unequal_strengths_lose_more_than_equal_ones_at_the_same_bytes():
    even = [((12.6, 12.6), 0.05), ((12.3, 12.3), 0.17), ((12.0, 12.0), 0.55)]
    equal, unequal = feasibility_in_parts(even, [0.5, 0.5], (12.2, 12.21), (12.6, 11.8))
    assert equal > 0.5 > 0.2 > unequal


def test_the_posterior_at_a_trial_is_its_drop():
    feasible, infeasible = feasibility_in_parts([*LINE, ((12.1, 12.2), 0.2)], [0.5, 0.5], (12.1, 12.2), (12.0, 12.0))
    assert feasible > 0.9
    assert infeasible < 0.01


def test_files_are_predicted_together_as_each_alone():
    known = in_parts(LINE, [0.4, 0.6])
    coordinates = torch.rand(600, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 11.6
    coordinates[0], coordinates[1] = 11.6, 12.6  # so that the grid of locations is the same for all
    ends = coordinates[:2]
    together = Surrogate(known).probability_of_feasibility(coordinates)
    for start in (2, 300, 598):
        few = Surrogate(known).probability_of_feasibility(torch.cat([ends, coordinates[start : start + 2]]))
        assert few[2:].tolist() == pytest.approx(together[start : start + 2].tolist(), abs=1e-9)
