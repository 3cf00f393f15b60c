"""Sampling noise from random halves of the items."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_compress import Score
from lightning_compress.search.evaluate.half_samples import HalfSamples, items_needed, noise_covariance


def test_the_covariance_is_that_of_means_of_items():
    draws = np.random.default_rng(0)
    exact, shared = draws.normal(0, 1, 900), draws.normal(0, 2, 900)
    losses = [shared + draws.normal(0, 1, 900), shared + draws.normal(0, 3, 900)]
    before = Score.mean_of(exact)
    found = noise_covariance([HalfSamples(before).differences(Score.mean_of(exact - loss)) for loss in losses])
    expected = np.cov(losses) / 900
    assert found == pytest.approx(expected, rel=0.3, abs=0.001)


def test_what_a_file_really_loses_is_no_noise():
    exact = np.random.default_rng(0).normal(0, 1, 200)
    differences = HalfSamples(Score.mean_of(exact)).differences(Score.mean_of(exact - 5.0))
    assert noise_covariance([differences]) == pytest.approx(np.zeros((1, 1)), abs=1e-20)


def test_scores_without_statistics_have_no_noise_that_is_known():
    exact = Score.mean_of([1.0, 2.0, 3.0])
    assert HalfSamples(exact).differences(Score(1.0)) is None
    assert HalfSamples(Score.mean_of([1.0])).differences(Score.mean_of([1.0])) is None
    assert noise_covariance([None, None]) is None
    one = HalfSamples(exact).differences(Score.mean_of([1.0, 1.0, 1.0]))
    assert noise_covariance([None, one])[0].tolist() == [0.0, 0.0]


def test_items_that_would_do_follow_the_square_of_the_noise():
    assert items_needed(0.2, 1000, 0.3) == 7112
    assert items_needed(0.1, 1000, 0.3) == pytest.approx(7112 / 4, abs=1)


def answers(items, wrong, right, share_correct=0.8, seed=1):
    """Right and wrong answers of exact weights and of a file, which turns this many right and this many wrong ones."""
    exact = np.zeros(items)
    exact[: round(share_correct * items)] = 1.0
    after = exact.copy()
    after[:wrong], after[items - right :] = 0.0, 1.0
    order = np.random.default_rng(seed).permutation(items)
    return HalfSamples(Score.mean_of(exact[order])), Score.mean_of(after[order])


def test_a_usual_drop_follows_the_share_of_the_answers_that_change():
    usual = []
    for changed in (20, 80):
        halves, after = answers(2000, wrong=changed // 2, right=changed // 2)
        usual.append(halves.usual_drop(halves.differences(after)))
    assert usual[1] / usual[0] == pytest.approx(4.0, rel=0.3)
    # A share of 0.01 of the answers changes; an answer has a standard deviation of 0.4.
    assert usual[0] == pytest.approx(0.13 * 0.01 / 0.4, rel=0.3)


def test_a_usual_drop_does_not_depend_on_the_unit_or_on_what_is_read():
    halves, after = answers(1000, wrong=30, right=0)
    lucky, reads_well = answers(1000, wrong=0, right=30)
    usual = halves.usual_drop(halves.differences(after))
    assert lucky.usual_drop(lucky.differences(reads_well)) == pytest.approx(usual, rel=0.3)
    exact = np.random.default_rng(0).normal(0, 1, 1000)
    change = np.random.default_rng(1).normal(0, 0.1, 1000)
    plain, percent = (HalfSamples(Score.mean_of(unit * exact)) for unit in (1, 100))
    found = plain.usual_drop(plain.differences(Score.mean_of(exact - change)))
    assert percent.usual_drop(percent.differences(Score.mean_of(100 * (exact - change)))) == pytest.approx(100 * found)


def test_a_usual_drop_is_unknown_without_statistics_or_where_all_items_score_alike():
    plain = HalfSamples(Score(1.0))
    assert plain.usual_drop(plain.differences(Score(0.9))) is None
    alike = HalfSamples(Score.mean_of(np.ones(100)))
    assert alike.usual_drop(alike.differences(Score.mean_of(np.arange(100) % 2))) is None
