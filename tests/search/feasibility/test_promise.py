"""The true drop of a file: the choice of one does not make it worse than it seems."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from lightning_compress import Score
from lightning_compress.search import paired_drop
from lightning_compress.search.evaluate.half_samples import HalfSamples
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.optimize.posterior import Posterior
from lightning_compress.search.optimize.surrogate import Surrogate
from lightning_compress.search.optimize.trial_data import TrialData
from lightning_compress.search.trials.trial import Trial

MAX_DROP, FILES = 0.3, 16
SIZES = np.linspace(12.2, 11.6, FILES)
ONE = torch.ones(1, dtype=torch.float64)
NOISE = 0.2**2 * (0.5 * np.eye(FILES) + 0.5)  # half of it is the luck of the exact weights


def simulated(seed):
    """What 16 files lose, and what is read of it."""
    draws = np.random.default_rng(seed)
    true = MAX_DROP * np.exp(-4 * (SIZES - 11.9)) + draws.normal(0, 0.1, FILES)
    return true, true + draws.multivariate_normal(np.zeros(FILES), NOISE)


def data_of(drops, **changes):
    settings = {"noise": torch.from_numpy(NOISE), **changes}
    return TrialData(torch.tensor(SIZES)[:, None], torch.tensor(drops), ONE, MAX_DROP, 0.2, **settings)


def smallest_of(true, allowed):
    return true[max(np.flatnonzero(allowed), default=0)]


def test_a_choice_by_the_posterior_is_not_biased_as_one_by_the_measured_drop_is():
    measured, posterior, expected = [], [], []
    for seed in range(25):
        true, drops = simulated(seed)
        found = Surrogate(data_of(drops)).true_drops
        allowed = (found.probability.numpy() >= 0.6) & (drops <= MAX_DROP)
        measured.append(smallest_of(true, drops <= MAX_DROP))
        posterior.append(smallest_of(true, allowed))
        expected.append(smallest_of(found.mean.numpy(), allowed))
    assert np.mean(np.array(measured) > MAX_DROP) > 0.35
    assert np.mean(np.array(posterior) > MAX_DROP) < 0.25
    assert np.mean(posterior) < 0.25
    assert np.mean(np.array(posterior) - expected) == pytest.approx(0.0, abs=0.06)


def test_half_of_the_true_drops_are_within_the_middle_half_of_the_posterior():
    inside = []
    for seed in range(12):
        true, drops = simulated(seed)
        found = Surrogate(data_of(drops)).true_drops
        inside.append(np.abs(true - found.mean.numpy()) < 0.6745 * found.deviation.numpy())
    assert 0.4 < np.mean(inside) < 0.75


def test_a_divergence_makes_the_posterior_narrower():
    _, drops = simulated(3)
    divergences = torch.from_numpy(-4 * SIZES)
    plain, informed = (Surrogate(data_of(drops, divergences=known)).true_drops for known in (None, divergences))
    assert float(informed.deviation.mean()) < float(plain.deviation.mean())


def test_where_readings_say_little_the_change_of_the_items_keeps_the_promise():
    """Some hundred answers, right or wrong: readings alone let losses of next to nothing seem probable."""
    true = MAX_DROP * np.exp(-4 * (SIZES - 11.8))
    deviations = 1.4 * np.sqrt(MAX_DROP * true)
    noise, lost = np.outer(deviations, deviations) * (0.5 * np.eye(FILES) + 0.5), {}
    for known in (False, True):
        lost[known] = []
        for seed in range(40):
            draws = np.random.default_rng(seed)
            drops = true + draws.multivariate_normal(np.zeros(FILES), noise)
            usual = torch.from_numpy(np.log(true) + draws.normal(0, 0.7)) if known else None
            data = data_of(drops, noise=torch.from_numpy(noise), usual=usual, divergences=torch.from_numpy(-4 * SIZES))
            found = Surrogate(data).true_drops.probability.numpy()
            lost[known].append(smallest_of(true, (found >= 0.6) & (drops <= MAX_DROP)))
    assert np.mean(lost[True]) < MAX_DROP < np.mean(lost[False])
    broken = {known: np.mean(np.array(drops) > MAX_DROP) for known, drops in lost.items()}
    assert broken[True] < broken[False] - 0.05


def test_a_higher_probability_asks_for_larger_files():
    _, drops = simulated(1)
    files = torch.linspace(11.6, 12.4, 30, dtype=torch.float64)[:, None]
    low, high = (Surrogate(data_of(drops, assured=level)).probability_of_feasibility(files) for level in (0.5, 0.95))
    assert bool((high <= low + 1e-9).all())
    assert float((low - high).max()) > 0.2


class Family:
    def __init__(self):
        self.shares, self.offsets = {}, {}

    def shares_trials_with(self, other):
        return self is other

    def with_offsets(self, offsets):
        return self

    def predict_bytes(self, strength):
        return float(np.exp(12 - strength))


def trials_of(drops, items, seed=0, noise=1.0, offset=0.0):
    """Trials with per-item scores: each item adds noise to the drop of a file."""
    draws, family = np.random.default_rng(seed), Family()
    exact = draws.normal(30, 5, items)
    before, found = Score.mean_of(exact), []
    for number, drop in enumerate(drops):
        after = Score.mean_of(exact - drop - draws.normal(offset, noise, items))
        strength = number / 20
        nbytes = round(family.predict_bytes(strength))
        paired = paired_drop(before, after, resamples=200)
        found.append(Trial(family, strength, nbytes, after, paired, HalfSamples(before).differences(after)))
    return found


def test_the_smallest_file_that_is_sure_enough_is_best():
    trials = trials_of([0.02, 0.05, 0.1, 0.2, 0.4, 0.8], 400)
    sizes = [FewestBytes(MAX_DROP, assured).best(trials).nbytes for assured in (0.5, 0.999)]
    assert trials[3].nbytes <= sizes[0] <= sizes[1]
    assert FewestBytes(0.0, 0.9).best(trials_of([1.0, 2.0], 400)) is None
    true = Posterior(trials, MAX_DROP, 0.5).true_drops
    assert all(true[k].low < true[k].mean < true[k].high for k in range(6))


def test_no_file_reads_worse_than_what_is_allowed():
    lucky = trials_of([0.02, 0.1, 0.2, 0.3, 0.5], 60, seed=4, noise=2.0)
    best = FewestBytes(MAX_DROP, 0.5).best(lucky)
    assert best is None or best.drop.value <= MAX_DROP


@pytest.mark.parametrize(("noise", "words"), [(8.0, "Evaluate on about"), (0.1, None)])
def test_a_score_that_is_too_noisy_is_announced_with_the_items_that_would_do(caplog, noise, words):
    (first,) = trials_of([0.1], 400, noise=noise)
    FewestBytes(MAX_DROP).note_noise(first)
    assert (words in caplog.text) if words else not caplog.records
    if words:
        needed = int(caplog.text.split("about ")[1].split(" items")[0])
        assert needed == pytest.approx(400 * (4 * noise / 20 / MAX_DROP) ** 2, rel=0.25)


def test_a_plain_number_is_announced_as_such(caplog):
    caplog.set_level(logging.INFO, "lightning_compress")
    after = Score(29.9)
    FewestBytes(MAX_DROP).note_noise(Trial(Family(), 0.0, 100, after, paired_drop(Score(30.0), after)))
    assert "has no statistics of items" in caplog.text
