"""How probable it is that a file holds, from what others lost."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress.search.optimize.surrogate import Measured, chances

ALLOWED = 0.3


def along_a_line(points, deviation=0.0):
    """Files of a model without parts: ``(logarithm of bytes, drop)`` each."""
    sizes, drops = zip(*points, strict=True)
    return Measured(column(sizes), column(drops)[:, 0], column([1.0])[0], ALLOWED, deviation)


def column(sizes):
    return torch.tensor(list(sizes), dtype=torch.float64)[:, None]


def in_parts(files, shares):
    """Files of a model with parts: ``(logarithms of bytes, drop)`` each."""
    places, drops = zip(*files, strict=True)
    return Measured(*(torch.tensor(values, dtype=torch.float64) for values in (places, drops, shares)), ALLOWED)


def chances_in_parts(files, shares, *places):
    return chances(in_parts(files, shares), torch.tensor(places, dtype=torch.float64)).tolist()


@pytest.mark.parametrize("rate", [2.0, 3.3, 6.0])
def test_the_curve_is_found_again(rate):
    known = along_a_line((size, 0.5 * math.exp(-rate * (size - 12.0))) for size in (11.5, 11.9, 12.4))
    truth = 12.0 - math.log(0.3 / 0.5) / rate
    smaller, larger = chances(known, column([truth - 0.1, truth + 0.1]))
    assert smaller < 0.2
    assert larger > 0.8


@pytest.mark.parametrize("allowed", [0.0, ALLOWED])
def test_what_is_smaller_is_never_likelier_to_hold(allowed):
    drops = torch.tensor([0.1, 0.5, 0.2, math.inf], dtype=torch.float64)
    known = Measured(column([12.0, 11.8, 11.5, 11.0]), drops, column([1.0])[0], allowed)
    found = chances(known, column(torch.linspace(10.01, 14.0, 50).tolist()))
    assert bool((found.diff() >= -1e-9).all())
    assert 0 <= float(found.min()) < 0.1
    assert 0.4 < float(found.max()) <= 1


def test_a_lucky_score_moves_the_curve_little():
    points = [(size, 0.5 * math.exp(-4 * (size - 12.0))) for size in (11.6, 11.8, 12.0, 12.2)]
    here = column([11.5, 11.7, 12.0])
    with_luck = along_a_line([*points, (11.71, -0.1)], deviation=0.1)
    assert float((chances(along_a_line(points, 0.1), here) - chances(with_luck, here)).abs().max()) < 0.2


def test_scatter_is_learned_from_the_points():
    """Drops that rise and fall leave hope below one that fails; drops on a line leave none."""
    even = [(12.0 - step, 0.3 * 1.5 ** (step / 0.1)) for step in (-0.2, -0.1, 0.05, 0.1)]
    uneven = [(size, drop + luck) for (size, drop), luck in zip(even, (0.2, -0.15, -0.2, 0.2), strict=True)]
    below = column([11.85])
    assert float(chances(along_a_line(even), below)) < 0.02
    assert float(chances(along_a_line(uneven), below)) > 0.05


def test_a_lucky_score_of_the_exact_weights_is_told_from_a_loss():
    """Where files of all sizes read alike below it, much smaller ones may hold as well; where drops rise, not."""
    sizes, smaller = (12.5, 12.4, 12.3, 12.2), column([11.8])
    flat = along_a_line(zip(sizes, (0.26, 0.34, 0.1, 0.4), strict=True))
    rising = along_a_line(zip(sizes, (0.1, 0.26, 0.34, 0.4), strict=True))
    assert float(chances(flat, smaller)) > 0.15
    assert float(chances(rising, smaller)) < 0.05


LINE = [((12.6, 12.6), 0.1), ((12.3, 12.3), 0.45), ((12.0, 12.0), 0.6), ((11.7, 11.7), 0.95)]


def test_the_luck_of_a_file_stays_with_the_parts_that_it_keeps():
    lucky, unlucky = [*LINE, ((12.2, 12.2), 0.15)], [*LINE, ((12.2, 12.2), 0.8)]
    kept, fresh = (12.1, 12.2), (12.1, 12.21)
    by_luck, of_another = chances_in_parts(lucky, [0.3, 0.7], kept, fresh)
    by_bad_luck, of_the_same = chances_in_parts(unlucky, [0.3, 0.7], kept, fresh)
    assert by_luck > of_another + 0.2
    assert by_bad_luck < of_the_same - 0.1


def test_the_larger_part_that_is_kept_the_more_of_its_luck():
    lucky = [*LINE, ((12.2, 12.2), 0.0)]
    larger, smaller = ((12.0, 12.2), (12.2, 12.0))
    found = chances_in_parts(lucky, [0.2, 0.8], larger, smaller)
    assert found[0] > found[1] + 0.2


def test_unequal_parts_lose_more_than_equal_ones_of_the_same_bytes():
    even = [((12.6, 12.6), 0.05), ((12.3, 12.3), 0.17), ((12.0, 12.0), 0.55)]
    equal, unequal = chances_in_parts(even, [0.5, 0.5], (12.2, 12.21), (12.6, 11.8))
    assert equal > 0.5 > 0.2 > unequal


def test_the_same_file_has_the_drop_that_it_had():
    held, failed = chances_in_parts([*LINE, ((12.1, 12.2), 0.2)], [0.5, 0.5], (12.1, 12.2), (12.0, 12.0))
    assert held > 0.9
    assert failed < 0.01


def test_many_files_are_judged_as_each_alone():
    known = in_parts(LINE, [0.4, 0.6])
    places = torch.rand(600, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 11.6
    places[0], places[1] = 11.6, 12.6  # so that the range of places is the same for all
    ends = places[:2]
    together = chances(known, places)
    for start in (2, 300, 598):
        few = chances(known, torch.cat([ends, places[start : start + 2]]))
        assert few[2:].tolist() == pytest.approx(together[start : start + 2].tolist(), abs=1e-9)
