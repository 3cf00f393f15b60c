"""The search as a whole: what it returns holds, it is small, and the module is as it was."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from small_network import Net, expect_same, state_of
from small_search import Agreement, Rounded
from torch import nn

from lightning_compress import Archive, Plan, Score, Weights, smallest
from lightning_compress.errors import SearchError
from lightning_compress.search.effort import EFFORTS
from lightning_compress.search.optimize import bayesian_optimization


def rounded(weights):
    return (Rounded(weights),)


@pytest.fixture
def net():
    return Net()


@pytest.fixture(scope="module")
def plain():
    """The archive of a search without further options, and how many evaluations it took."""
    torch.manual_seed(0)
    net = Net()
    agreement = Agreement(net)
    return smallest(net, agreement, 5.0, families=rounded, progress=False), agreement.calls


@pytest.mark.parametrize("max_drop", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("statistics", [False, True])
def test_what_it_returns_holds_and_is_the_smallest_measured(net, tmp_path, max_drop, statistics):
    evaluate, before = Agreement(net, statistics=statistics), state_of(net)
    archive = smallest(net, evaluate, max_drop, families=rounded, progress=False)
    expect_same(net, before)
    found = archive.manifest.metrics["search"]
    assert found["score_before"] == 100.0
    assert found["drop"] == pytest.approx(100.0 - found["score_after"])
    assert 0 <= found["drop"] <= max_drop
    assert found["evaluations"] == evaluate.calls <= EFFORTS["default"].evaluations
    assert found["noise"] == 0.0
    assert ("interval" in found) == statistics
    if statistics:
        low, high = found["interval"]
        assert low <= found["drop"] <= high
    archive.save(tmp_path / "small.safetensors")
    net.load_state_dict({**net.state_dict(), **Archive.open(tmp_path / "small.safetensors").restore()})
    measured = evaluate(net.eval())
    assert Score.from_value(measured).value == pytest.approx(found["score_after"])
    assert min(point[1] for point in found["frontier"] if point[2] >= 100 - max_drop) <= archive.nbytes


def test_a_larger_drop_gives_a_smaller_file(net, plain):
    most, least = (smallest(net, Agreement(net), drop, families=rounded, progress=False) for drop in (0.5, 30.0))
    assert most.nbytes > plain[0].nbytes > least.nbytes


def test_the_same_search_gives_the_same_file(net, plain):
    again = smallest(net, Agreement(net), 5.0, families=rounded, progress=False)
    assert again.streams == plain[0].streams


def test_its_frontier_has_bytes_and_scores_that_rise_together(plain):
    points = plain[0].manifest.metrics["search"]["frontier"]
    assert len(points) >= 2
    assert points == sorted(points, key=lambda point: point[1]) == sorted(points, key=lambda point: point[2])
    assert json.loads(json.dumps(points)) == points


def test_the_default_families_need_nothing_but_weights(net):
    archive = smallest(net, Agreement(net), 5.0, progress=False)
    plan = Plan.from_config(archive.manifest.plan)
    assert archive.manifest.metrics["search"]["drop"] <= 5.0
    assert archive.report().ratio > 1.5
    assert {rule.pattern for rule in plan.rules} >= {"*.bias", "*"}


def test_each_effort_keeps_to_its_evaluations(net):
    sizes = {}
    for name, effort in EFFORTS.items():
        evaluate = Agreement(net)
        sizes[name] = smallest(net, evaluate, 5.0, families=rounded, effort=name, progress=False).nbytes
        assert 3 <= evaluate.calls <= effort.evaluations
    assert sizes["thorough"] <= sizes["default"] * 1.01


def test_a_budget_is_met_with_the_best_score(net, tmp_path):
    scores = []
    for budget in (5000, 6500, 9000):
        archive = smallest(net, Agreement(net), max_bytes=budget, families=rounded, progress=False)
        assert archive.save(tmp_path / f"{budget}.safetensors") <= budget
        scores.append(archive.manifest.metrics["search"]["score_after"])
    assert scores[0] < scores[1] < scores[2]


def test_a_budget_that_holds_everything_keeps_everything(net):
    archive = smallest(net, Agreement(net), max_bytes=1_000_000, families=rounded, progress=False)
    assert archive.manifest.metrics["search"]["fallback"] == "lossless"
    restored = archive.restore()
    assert all(torch.equal(restored[name], tensor) for name, tensor in net.state_dict().items())


class Hopeless(Agreement):
    """A score that only exact weights have, or those that lost no more than ``most`` of each."""

    def __init__(self, module, most):
        super().__init__(module)
        self.exact, self.most = {name: tensor.clone() for name, tensor in module.state_dict().items()}, most

    def __call__(self, module):
        self.calls += 1
        state = module.state_dict()
        return float(all(torch.allclose(state[n], t, rtol=self.most, atol=1e-9) for n, t in self.exact.items()))


@pytest.mark.parametrize(("most", "kept"), [(0.0, "lossless"), (2**-8, "half")])
def test_where_no_quantized_file_is_feasible_the_fallback_is_logged(net, caplog, most, kept):
    evaluate = Hopeless(net, most)
    archive = smallest(net, evaluate, 0.5, families=lambda w: (Rounded(w, weakest=-3.0),), progress=False)
    assert archive.manifest.metrics["search"]["fallback"] == kept
    assert archive.manifest.metrics["search"]["drop"] == 0.0
    assert evaluate.calls <= EFFORTS["default"].evaluations
    large, record = [r for r in caplog.records if r.name.startswith("lightning_compress")]
    assert "max_drop=0.5 allows the file to lose 50% of the score 1" in large.getMessage()
    assert record.levelno == logging.WARNING
    assert {"half": "half precision", "lossless": "exactly"}[kept] in record.getMessage()


def test_the_fallback_works_without_any_evaluation_left(net, monkeypatch):
    monkeypatch.setitem(EFFORTS, "quick", EFFORTS["quick"].__class__(evaluations=2, tolerance=0.1, rounds=0))
    archive = smallest(net, Hopeless(net, 0.0), 0.5, families=rounded, effort="quick", progress=False)
    assert archive.manifest.metrics["search"]["fallback"] == "lossless"


def test_a_score_to_be_kept_besides(net):
    wide = smallest(net, Agreement(net), 30.0, families=rounded, progress=False)
    narrow = smallest(net, Agreement(net), 30.0, min_score=95.0, families=rounded, progress=False)
    assert narrow.manifest.metrics["search"]["score_after"] >= 95.0
    assert narrow.nbytes > wide.nbytes


def test_minus_infinity_is_a_candidate_that_lost_everything(net):
    agreement = Agreement(net)

    def evaluate(module):
        score = agreement(module)
        return score if score > 90 else -math.inf

    archive = smallest(net, evaluate, 8.0, families=rounded, progress=False)
    assert archive.manifest.metrics["search"]["score_after"] >= 92


def test_a_search_ends_when_too_little_is_expected_of_more_evaluations(net, plain, monkeypatch):
    before, usual = plain
    monkeypatch.setattr(bayesian_optimization, "MIN_IMPROVEMENT", 0.0)
    all_spent = Agreement(net)
    after = smallest(net, all_spent, 5.0, families=rounded, progress=False)
    assert sum(map(len, after.streams.values())) <= 1.02 * sum(map(len, before.streams.values()))
    assert usual < all_spent.calls <= EFFORTS["default"].evaluations


def test_a_better_family_wins_and_a_worse_one_costs_one_evaluation(net, plain):
    best, alone = plain
    both = Agreement(net)
    again = smallest(net, both, 5.0, families=lambda w: (Rounded(w), Rounded(w, strongest=-5.0)), progress=False)
    assert again.streams == best.streams
    assert both.calls <= alone + 1


def test_a_part_that_bears_more_is_made_stronger(net):
    """The evaluation puts the embedding right again, so that part may be as coarse as it likes."""
    agreement, kept = Agreement(net), net.embedding.weight.detach().clone()

    def evaluate(module):
        module.embedding.weight.copy_(kept)
        return agreement(module)

    def parted(weights):
        return (Rounded(weights, parts=("embedding", "head")),)

    plain = smallest(net, evaluate, 5.0, families=rounded, progress=False)
    apart = smallest(net, evaluate, 5.0, families=parted, effort="thorough", progress=False)
    assert apart.nbytes < 0.97 * plain.nbytes  # much of so small a file is the manifest
    assert apart.manifest.metrics["search"]["drop"] <= 5.0
    plain = smallest(net, evaluate, max_bytes=6000, families=rounded, progress=False)
    apart = smallest(net, evaluate, max_bytes=6000, families=parted, progress=False)
    assert apart.nbytes <= 6000
    assert apart.manifest.metrics["search"]["drop"] < plain.manifest.metrics["search"]["drop"]


def test_averaged_weights_in_place_of_the_module_s(net):
    averaged = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    before_evaluate = Agreement(net)
    nn.init.zeros_(net.head.weight)
    values = state_of(net)
    weights = Weights.from_state_dict(averaged, module=net)
    archive = smallest(net, before_evaluate, 5.0, weights=weights, families=rounded, progress=False)
    expect_same(net, values)
    assert archive.manifest.metrics["search"]["score_before"] == 100.0
    assert archive.restore()["head.weight"].abs().sum() > 0


def test_modes_gradients_and_what_is_left_out(net):
    net.train()
    net.teacher = nn.Linear(3, 3)
    net(torch.arange(8)).sum().backward()
    gradient = net.head.weight.grad
    modes = []

    agreement = Agreement(net)
    net.train()

    def evaluate(module):
        modes.append((module.training, torch.is_grad_enabled(), module.head.weight.grad))
        module.train()
        module.eval()
        return agreement(module)

    archive = smallest(net, evaluate, 5.0, families=rounded, exclude=["teacher.*"], progress=False)
    assert net.training
    assert net.head.weight.grad is gradient
    assert set(modes) == {(False, False, None)}
    assert set(archive.manifest.excluded) == {"teacher.weight", "teacher.bias"}


def test_a_compiled_or_wrapped_module_is_searched_too():
    inner = Net()
    wrapped = nn.DataParallel(inner)
    archive = smallest(wrapped, Agreement(inner), 5.0, families=rounded, progress=False)
    assert archive.manifest.class_path == "small_network.Net"


def test_noise_is_recorded_and_subtracted_from_the_allowed_drop(net, caplog):
    agreement, calls = Agreement(net), []

    def evaluate(module):
        calls.append(None)
        return agreement(module) + (0.4 if len(calls) % 2 else 0.0)

    archive = smallest(net, evaluate, 3.0, families=rounded, progress=False)
    found = archive.manifest.metrics["search"]
    assert found["noise"] == pytest.approx(0.4)
    assert found["drop"] <= 3.0 - 0.4
    assert "not repeatable: 0.4 apart" in caplog.text


def test_random_evaluations_are_repeatable_since_each_starts_from_the_same_state(net):
    agreement = Agreement(net)
    state = torch.get_rng_state()

    def evaluate(module):
        return agreement(module) + float(torch.rand(()))

    archive = smallest(net, evaluate, 3.0, families=rounded, progress=False)
    assert archive.manifest.metrics["search"]["noise"] == 0.0
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_effort_is_refused(net):
    with pytest.raises(SearchError, match="effort='huge' is not known: write 'quick', 'default', 'thorough'"):
        smallest(net, Agreement(net), 5.0, effort="huge")
