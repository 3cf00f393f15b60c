"""Searches replayed on halves of measured items."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import column_steps
from benchmarks.promise import __main__, measured, replay
from benchmarks.promise.measured import Case, Measured

ITEMS, SIZES = 120, (12.4, 12.2, 12.0, 11.8)


def case():
    """Files of which each item loses a few matches of its words."""
    draws = np.random.default_rng(0)
    words = draws.integers(8, 14, ITEMS)
    totals = np.stack([words - k for k in range(4)], 1)
    matches = np.stack([totals[:, k] - 3 - k for k in range(4)], 1).clip(1)

    def statistics(lost):
        hit = (draws.random(ITEMS) < lost)[:, None]
        return np.concatenate([words[:, None], words[:, None], (matches - hit).clip(0), totals], 1).astype(float)

    files = tuple(
        Measured((size,), round(np.exp(size)), 32 / 3 + k, statistics(lost), np.full(10, np.exp(-4 * size)))
        for k, (size, lost) in enumerate(zip(SIZES, (0.0, 0.01, 0.05, 0.6), strict=True))
    )
    return Case("simulated", (1.0,), statistics(0.0), files)


def test_a_replay_judges_on_the_items_that_were_not_read(monkeypatch):
    monkeypatch.setattr(replay, "SPLITS", 4)
    found = case()
    outcomes = [replay.replays(found, level) for level in (None, 0.5, 0.99)]
    for searches in outcomes:
        assert len(searches) == 4
        assert all(3 <= one.evaluations <= 6 for one in searches)
        assert all(one.ratio is None or one.ratio < 32 / 3 + 3 for one in searches)  # the last file loses far too much
    losses = {
        file.ratio: found.combine(found.exact.sum(0)) - found.combine(file.statistics.sum(0)) for file in found.files
    }
    for one in outcomes[0]:
        assert one.whole == (None if one.ratio is None else pytest.approx(losses[one.ratio], abs=1e-6))
    ratios = [np.mean([one.ratio or 1.0 for one in searches]) for searches in outcomes]
    assert ratios[0] >= ratios[1] >= ratios[2]
    line = replay.row(found, "rule", outcomes[1])
    assert line.startswith("| simulated | rule | ")
    assert line.endswith("| 4 |")


def stored(folder, found, items, nbytes):
    """The files of a case as ``measure`` stores them, with some of their items."""
    folder.mkdir()
    for number, file in enumerate(found.files):
        facts = {"coordinates": file.coordinates, "shares": [1.0], "nbytes": nbytes + number, "ratio": file.ratio}
        np.savez(
            folder / f"rnn-no-data-{number:02}.npz",
            facts=json.dumps(facts),
            statistics=file.statistics[items],
            exact=found.exact[items],
            divergence=file.divergence,
        )


def test_files_that_were_measured_on_several_texts_have_the_items_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "LEAST", 4)
    found = case()
    stored(tmp_path / "first", found, slice(0, 70), 1000)
    stored(tmp_path / "second", found, slice(70, None), 1000)
    (joined,) = measured.cases([tmp_path / "first", tmp_path / "second"])
    assert np.array_equal(joined.exact, found.exact)
    for before, after in zip(found.files, joined.files, strict=True):
        assert np.array_equal(before.statistics, after.statistics)
        assert after.divergence.mean() == pytest.approx(before.divergence.mean())
    stored(tmp_path / "third", found, slice(70, None), 2000)
    with pytest.raises(ValueError, match="different files"):
        list(measured.cases([tmp_path / "first", tmp_path / "third"]))


def test_halves_are_the_same_each_time():
    first, second = (list(replay._parts(50, 25)) for _ in range(2))
    assert len(first) == replay.SPLITS
    assert all(len(half) == 25 for half in first)
    assert [half.tolist() for half in first] == [half.tolist() for half in second]
    assert first[0].tolist() != first[1].tolist()


def test_a_search_may_read_few_items_of_another_score(monkeypatch):
    monkeypatch.setattr(replay, "SPLITS", 3)
    draws = np.random.default_rng(0)
    right = (draws.random(400) < 0.8).astype(float)

    def answers(changed):
        flips = draws.random(400) < changed
        return np.stack([100 * np.where(flips & (draws.random(400) < 0.7), 0.0, right), np.ones(400)], 1)

    files = tuple(
        Measured((size,), round(np.exp(size)), 8.0 + k, answers(changed), np.full(10, np.exp(-4 * size)))
        for k, (size, changed) in enumerate(zip(SIZES, (0.0, 0.01, 0.03, 0.5), strict=True))
    )
    exact = np.stack([100 * right, np.ones(400)], 1)
    answered = Case("answers", (1.0,), exact, files, lambda sums: float(sums[0] / sums[1]), 2.0)
    lines = list(replay.table([answered], [0.8], [40]))
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| answers, 40 items"] * 2
    assert all(one.ratio < 11 for one in replay.replays(answered, 0.8, 40) if one.ratio)


def test_a_search_without_a_file_counts_as_kept():
    line = replay.row(case(), "rule", [replay.Outcome(None, None, None, None, 5)])
    assert "| 100 % | 100 % | – | – | – | 5.0 |" in line


def test_every_command_is_importable():
    """The commands that need models are not run here."""
    assert {"measure", "search"} == set(__main__.NEED_MODELS)
    assert callable(column_steps.main)


def test_steps_of_columns_save_what_the_means_say_and_less_at_low_rates():
    factor = np.exp(np.random.default_rng(0).normal(0, 0.7, 400))
    factor *= np.sqrt((factor**-2.0).mean())
    costs = column_steps.laplace_costs()
    high, low = column_steps.savings(factor, 2.0, costs)
    assert high == pytest.approx(-np.log2(factor**-2.0).mean() / 2)
    assert 0.5 * high < low < high
    assert column_steps.savings(factor, 6.0, costs)[1] == pytest.approx(high, abs=0.01)
    assert column_steps.savings(np.ones(5), 2.0, costs)[1] == pytest.approx(0.0, abs=1e-6)
