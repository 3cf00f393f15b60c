"""Files are confirmed on items that the search never read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
import torch
from small_network import Net
from small_search import Agreement, Rounded
from torch import nn

from lightning_compress import Score, smallest
from lightning_compress.errors import SearchError
from lightning_compress.search import paired_drop
from lightning_compress.search.evaluate.half_samples import HalfSamples
from lightning_compress.search.feasibility.confirmation import confirm, sequence
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.feasibility.safer_file import can_confirm, evaluate_safer
from lightning_compress.search.optimize.posterior import TrueDrop
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

ITEMS = 400


def before_items():
    return np.random.default_rng(0).normal(30, 3, ITEMS)


def before():
    return Score.mean_of(before_items())


def files(*drops):
    """Files with these drops on the confirming items, from the largest to the smallest."""
    exact = before()
    trials = [Trial(None, 0.0, 1000 - 10 * k, exact, paired_drop(exact, exact)) for k in range(len(drops))]
    lost = dict(zip(map(id, trials), drops, strict=True))

    def score_of(trial):
        noise = np.random.default_rng(trial.nbytes).normal(0, 0.5, ITEMS)
        return Score.mean_of(exact.statistics[:, 0] - lost[id(trial)] - (noise - noise.mean()))

    return trials, score_of


@pytest.mark.parametrize(
    ("drops", "kept", "tested"),
    [
        ((0.1, 0.15, 0.2), 2, 3),
        ((0.1, 0.5, 0.1), 0, 2),  # the third is not read, though it would pass
        ((0.5, 0.1, 0.1), None, 1),
    ],
)
def test_the_first_failure_ends_the_sequence(drops, kept, tested):
    trials, score_of = files(*drops)
    found = confirm(trials, before(), score_of, 0.3, 0.9)
    assert found.tested == tested
    assert found.trial is (None if kept is None else trials[kept])
    assert found.bound > found.drop


def test_at_most_three_files_the_safest_first():
    trials, _ = files(*[0.1] * 6)
    sure = [0.99, 0.98, 0.9, 0.95, 0.8, 0.7]  # the third is neither smaller nor safer than the fourth
    pairs = [(trial, TrueDrop(0.1, 0.0, 0.2, value)) for trial, value in zip(trials, sure, strict=True)]
    order = sequence(pairs)
    assert (order[0], order[-1], len(order)) == (trials[0], trials[5], 3)
    assert sequence(pairs[2:4]) == [trials[3]]


class Many(Agreement):
    """2,560 answers with statistics, a part of which may be scored."""

    def __init__(self, module, part=slice(None)):
        super().__init__(module, statistics=True)
        self.part = part
        self.noise = torch.randn(2560, 24, generator=torch.Generator().manual_seed(2)) / 4
        self.ids = torch.arange(64).repeat(40)
        self.right = self._answers(module.eval())

    def __call__(self, module):
        self.calls += 1
        same = 100.0 * (self._answers(module) == self.right)
        margin = (module(self.ids) + self.noise).topk(2).values.diff()[:, 0].detach()
        rows = np.stack([same.numpy(), np.ones(len(same)), margin.numpy()], -1)[self.part]
        return Score.of(rows, lambda sums: float(sums[0] / sums[1]))


def searched(evaluate, net, confirm=True, max_drop=5.0):
    found = smallest(
        net,
        evaluate,
        max_drop,
        families=lambda w: (Rounded(w),),
        confirm=confirm,
        progress=False,
    )
    return found.manifest.metrics["search"]


def test_a_third_of_many_items_is_set_apart_and_costs_no_evaluation():
    net = Net()
    evaluate = Many(net)
    found = searched(evaluate, net)
    assert found["items"] == 2560 - round(2560 / 3)
    assert found["confirmed"]["items"] == round(2560 / 3)
    assert found["confirmed"]["passed"]
    assert found["confirmed"]["bound"] <= 5.0
    assert found["evaluations"] == evaluate.calls <= 20
    assert found["expected_interval"][0] < found["expected_drop"] < found["expected_interval"][1]
    assert "confirmed" not in searched(Many(net), net, confirm=False)


def test_the_search_reads_all_items_where_a_third_of_them_could_not_tell(caplog):
    caplog.set_level(logging.INFO, "lightning_compress")
    net = Net()
    found = searched(Many(net), net, max_drop=1.0)
    assert found["items"] == 2560
    assert "confirmed" not in found
    assert "the search reads all 2560 items: a third of them would read a drop with a standard deviation" in caplog.text


def test_items_can_confirm_if_a_file_that_loses_a_third_of_what_is_allowed_passes_nine_times_in_ten():
    draws, passed = np.random.default_rng(0), []
    deviation = 0.2 / (NormalDist().inv_cdf(0.8) + NormalDist().inv_cdf(0.9))
    for _ in range(2000):
        drop = 0.1 + draws.normal(0, deviation)
        passed.append(drop + NormalDist().inv_cdf(0.8) * deviation <= 0.3)
    assert np.mean(passed) == pytest.approx(0.9, abs=0.02)
    assert can_confirm(0.999 * deviation, 0.3, 0.8)
    assert not can_confirm(1.001 * deviation, 0.3, 0.8)


class Scored:
    """An evaluator whose candidates lose as much as a power of their bytes says, on all items alike."""

    count = 4

    def score(self, tensors, what):
        self.count += 1
        return Score.mean_of(before_items() - 0.28 * (tensors["nbytes"] / 1000) ** -4)


@dataclass(frozen=True)
class Made:
    nbytes: float

    def restore(self):
        return {"nbytes": self.nbytes}


class Sized:
    """A family whose file has a thousand bytes at the strength 0, and twice as many for each less."""

    weakest, strongest, shares, offsets = -4.0, 4.0, {}, {}

    def with_offsets(self, offsets):
        return self

    def shares_trials_with(self, other):
        return isinstance(other, Sized)

    def predict_bytes(self, strength):
        return 1000 * 2.0**-strength

    def archive(self, strength):
        return Made(self.predict_bytes(strength))


@pytest.mark.parametrize(("items", "makes"), [(40 * ITEMS, False), (ITEMS // 4, True)])
def test_a_file_that_may_fail_gets_a_safer_one_before_it(items, makes):
    """All items alike tell exactly what a file loses; so few others would not."""
    objective, family, lossy = FewestBytes(0.3, 0.8), Sized(), np.random.default_rng(1).normal(0, 0.6, ITEMS)
    trials = Trials(Scored(), Score.mean_of(before_items()), objective, 20, lambda *_: None)
    for strength in (-1.0, -0.1):
        after = Score.mean_of(before_items() - 0.28 * 2.0 ** (4 * strength) - lossy)
        drop, halves = paired_drop(trials.before, after, resamples=200), HalfSamples(trials.before).differences(after)
        nbytes = round(family.predict_bytes(strength))
        trials.all.append(Trial(family, strength, nbytes, after, drop, halves, archive=family.archive(strength)))
    safest = trials.all[1]
    evaluate_safer(trials, objective, safest, items)
    assert len(trials.all) == 2 + makes
    if makes:
        assert trials.all[2].nbytes > 1.05 * safest.nbytes


def test_other_items_confirm_and_items_of_the_search_do_not(caplog):
    net = Net()
    first, second = Many(net, slice(0, 1280)), Many(net, slice(1280, 2560))
    found = searched(first, net, second)
    assert found["confirmed"]["passed"]
    assert found["evaluations"] == first.calls + second.calls
    found = searched(first, net, Many(net, slice(0, 1280)))
    assert "confirmed" not in found
    assert "scores items that evaluate scores too" in caplog.text


def test_confirming_by_the_evaluation_itself_is_refused():
    net = Net()
    evaluate = Many(net)
    with pytest.raises(SearchError, match="confirm is the same function as evaluate"):
        smallest(net, evaluate, 5.0, confirm=evaluate)
    with pytest.raises(SearchError, match=r"assured is 1\.0, expected a probability from 0.5 to below 1"):
        smallest(net, evaluate, 5.0, assured=1.0)


def test_a_file_that_is_not_confirmed_is_not_returned(caplog):
    net = Net()
    calls = []

    def pessimist(module):
        calls.append(1)
        return Score.mean_of(np.random.default_rng(0).normal(90.0 if len(calls) == 1 else 50.0, 1.0, 100))

    found = searched(Many(net, slice(0, 1000)), net, pessimist)
    assert found["fallback"] in {"half", "lossless"}
    assert not found["confirmed"]["passed"]
    assert "the safest file loses up to" in caplog.text


@pytest.mark.parametrize("lost", [Score.mean_of(np.zeros(500)), float("-inf")])
def test_a_file_that_fails_is_not_returned(lost):
    net = Net()
    exact = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def other_items(module):
        same = all(torch.equal(tensor, exact[name]) for name, tensor in module.state_dict().items())
        return Score.mean_of(np.full(500, 100.0)) if same else lost

    found = searched(Many(net), net, confirm=other_items)
    assert not found["confirmed"]["passed"]
    assert found["fallback"] in ("half", "lossless")


def test_a_file_that_fails_is_not_returned_where_evaluations_are_left():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    given, exact = torch.randn(400, 20), net[0].weight.detach().clone()
    answers = net(given).argmax(-1)
    archive = smallest(
        net,
        lambda module: Score.mean_of((module(given).argmax(-1) == answers).float()),
        0.2,
        confirm=lambda module: Score.mean_of(np.full(500, float(torch.equal(module[0].weight, exact)))),
        progress=False,
    )
    found = archive.manifest.metrics["search"]
    assert not found["confirmed"]["passed"]
    assert found["fallback"] == "half"
