"""The paired bootstrap: intervals that cover what they should, alike each time, and global randomness untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress import Score
from lightning_compress.errors import SearchError
from lightning_compress.search import paired_drop


def _pair(seed: int, sentences: int = 200, loss: float = 0.1) -> tuple[Score, Score]:
    """Scores of sentences that vary much and of the same that lost a little each."""
    generator = np.random.default_rng(seed)
    before = generator.normal(1.0, 1.0, sentences)
    return Score.mean_of(before), Score.mean_of(before - loss + generator.normal(0.0, 0.5, sentences))


def test_the_deviation_is_that_of_the_paired_differences():
    before, after = _pair(0, sentences=2000)
    drop = paired_drop(before, after)
    differences = before.statistics[:, 0] - after.statistics[:, 0]
    assert drop.value == pytest.approx(differences.mean())
    assert drop.deviation == pytest.approx(differences.std() / 2000**0.5, rel=0.1)
    assert drop.high - drop.low == pytest.approx(2 * 1.96 * drop.deviation, rel=0.1)


def test_the_interval_covers_the_true_loss_about_as_often_as_it_says():
    covered = [d.low <= 0.1 <= d.high for d in (paired_drop(*_pair(k), resamples=300) for k in range(200))]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_equal_scores_have_no_drop():
    before, _ = _pair(0)
    drop = paired_drop(before, Score(before.value, before.statistics, before.combine))
    assert (drop.value, drop.low, drop.high, drop.deviation) == (0.0, 0.0, 0.0, 0.0)


def test_without_statistics_only_the_value_is_known():
    drop = paired_drop(Score(3.0), Score(2.5))
    assert (drop.value, drop.low, drop.high, drop.deviation) == (0.5, 0.5, 0.5, 0.0)
    assert paired_drop(_pair(0)[0], Score(0.0)).deviation == 0.0


def test_it_is_the_same_each_time_and_touches_no_global_generator():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert paired_drop(*_pair(3)) == paired_drop(*_pair(3))
    assert paired_drop(*_pair(3), seed=1) != paired_drop(*_pair(3))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_other_sentences_are_refused():
    with pytest.raises(SearchError, match=r"shape \[10, 2\] and the one before \[200, 2\]"):
        paired_drop(_pair(0)[0], Score.mean_of(np.ones(10)))
