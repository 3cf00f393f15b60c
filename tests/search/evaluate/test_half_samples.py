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
