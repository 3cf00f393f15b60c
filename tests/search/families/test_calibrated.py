"""The search with calibration data: smaller files, a module as before, plans used again, other sizes later."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_calibration import Answers, Batches, ids
from small_network import Net, expect_same, state_of
from small_search import Agreement
from torch import nn

from lightning_compress import Archive, Plan, Weights, retarget, smallest
from lightning_compress.errors import SearchError
from lightning_compress.quantize import Grid
from lightning_compress.search import evaluating, reuse
from lightning_compress.search.effort import EFFORTS
from lightning_compress.search.families.calibrated import calibrated_archive, calibrated_families
from lightning_compress.search.families.target_size import fit_bytes

pytestmark = pytest.mark.usefixtures("quick_predictions")

MATRICES = {"embedding.weight", "head.weight"}


@pytest.fixture(scope="module")
def found():
    """A net, and the file that a search with calibration data made of it."""
    net = Net()
    before, evaluate = state_of(net), Agreement(net)
    archive = smallest(net, evaluate, 10.0, calibration=ids(cls=Answers), progress=False)
    expect_same(net, before)
    assert evaluate.calls == archive.manifest.metrics["search"]["evaluations"] <= EFFORTS["default"].evaluations
    return net, archive


def exponents_of(archive):
    lowest = {entry.name: entry.payload.get("exponent", 0) for entry in archive.manifest.entries}
    return {name: words.astype(int) + lowest[name] for name, words in archive.streams_named("row_exponents").items()}


def test_a_file_by_calibration_holds_and_is_smaller_than_without(found, tmp_path):
    net, archive = found
    facts = archive.manifest.metrics["search"]
    assert "fallback" not in facts
    assert facts["drop"] <= 10.0
    plain = smallest(net, Agreement(net), 10.0, progress=False)
    assert archive.nbytes < plain.nbytes
    archive.save(tmp_path / "small.safetensors")
    assert Archive.open(tmp_path / "small.safetensors").streams_named("row_exponents").keys() == MATRICES


def family_of(net, calibration):
    with evaluating(net, lambda _: 0.0, Weights.from_module(net)) as evaluator:
        (family,) = calibrated_families(evaluator.weights, net, calibration, loaded=evaluator.exact_weights)
        return family


def test_trials_of_other_offsets_inform_the_family_and_those_of_other_guidance_do_not():
    family = family_of(Net(), ids(cls=Answers))
    assert family.shares_trials_with(family.with_offsets({"embedding": 0.5}))
    assert not family.shares_trials_with(replace(family, guidance={}))
    assert not family.shares_trials_with(None)


def test_strength_is_the_logarithm_of_all_steps():
    family = family_of(Net(), ids(cls=Answers))
    fine, coarse = ({r.pattern: r for r in family.plan_at(s, {}).rules} for s in (-3.0, -2.0))
    grids = {name: rule.methods[0] for name, rule in fine.items() if isinstance(rule.methods[0], Grid)}
    assert grids.keys() == {"embedding.weight", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    for name, grid in grids.items():
        assert coarse[name].methods[0].step == pytest.approx(2 * grid.step, rel=1e-3)
    assert family.archive(-3.0).nbytes > family.archive(-1.0).nbytes


def test_the_matrix_behind_another_one_makes_up_for_its_errors():
    """The head comes after the embedding; a search and its plan used again do so alike."""
    net, calibration = Net(), ids(cls=Answers)
    with evaluating(net, lambda _: 0.0, Weights.from_module(net)) as evaluator:
        (family,) = calibrated_families(evaluator.weights, net, calibration, loaded=evaluator.exact_weights)
        together, alone = family.archive(-1.0), replace(family, propagation=None).archive(-1.0)
        plan = family.plan_at(-1.0, {})
        again = calibrated_archive(plan, evaluator.weights, net, calibration, loaded=evaluator.exact_weights)
    pairs = {name: (value, alone.restore()[name]) for name, value in together.restore().items()}
    assert {name for name, values in pairs.items() if not torch.equal(*values)} == {"head.weight"}
    assert all(torch.equal(value, again.restore()[name]) for name, value in together.restore().items())


class PartlyUsed(Net):
    """It has a matrix that the loss never sees."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(40, 40)


def test_what_the_loss_does_not_feel_is_kept_in_half_precision():
    net = PartlyUsed()
    archive = family_of(net, ids()).archive(-3.0)
    kinds = {entry.name: entry.kind for entry in archive.manifest.entries}
    assert kinds["spare.weight"] == kinds["spare.bias"] == "half"
    restored = archive.restore()["spare.weight"]
    torch.testing.assert_close(restored, net.spare.weight.detach(), rtol=2**-8, atol=0)


def test_a_search_by_the_loss_alone_asks_for_no_outputs(caplog):
    net = Net()
    archive = smallest(net, Agreement(net), 9.0, calibration=ids(), progress=False)
    assert archive.manifest.metrics["search"]["drop"] <= 9.0
    assert "outputs" not in caplog.text


def test_where_nothing_holds_it_falls_back():
    net = Net()
    exact = net.head.weight.detach().clone()
    archive = smallest(
        net, lambda m: float(torch.equal(m.head.weight, exact)), 0.5, calibration=ids(), effort="quick", progress=False
    )
    assert archive.manifest.metrics["search"]["fallback"] == "lossless"


def test_a_budget_is_met():
    net = Net()
    _, archive = fit_bytes(family_of(net, ids(cls=Answers)), 3500)
    assert 3000 < archive.nbytes <= 3500
    found = smallest(net, Agreement(net), max_bytes=5000, calibration=ids(cls=Answers), progress=False)
    assert found.nbytes <= 5000


class Late(Batches):
    """Its third batch fails."""

    def loss(self, module, batch):
        if batch is self.batches[2]:
            raise ValueError("too long a sentence")
        return super().loss(module, batch)


def test_a_batch_that_fails_ends_the_search_with_the_module_as_it_was():
    net = Net().train()
    agreement = Agreement(net)
    net.train()
    before = state_of(net)
    with pytest.raises(SearchError, match="failed on batch 2 with ValueError: too long a sentence"):
        smallest(net, agreement, 5.0, calibration=Late(ids().batches), progress=False)
    expect_same(net, before)
    assert net.training


def test_a_plan_is_used_again_with_guidance_measured_anew(found):
    net, archive = found
    newer = Net()
    newer.load_state_dict(net.state_dict())
    with torch.no_grad():
        newer.embedding.weight[:8] *= 1.5
        newer.head.weight += 0.01
    before, plan = state_of(newer), Plan.from_config(archive.manifest.plan)
    evaluate, weights = Agreement(newer), Weights.from_module(newer)
    again = reuse(plan, newer, evaluate, 15.0, weights, calibration=ids(cls=Answers))
    expect_same(newer, before)
    assert again is not None
    facts = again.manifest.metrics["search"]
    assert evaluate.calls == facts["evaluations"] == 3
    assert again.manifest.plan == archive.manifest.plan
    with evaluating(newer, evaluate, weights) as evaluator:
        same = calibrated_archive(plan, evaluator.weights, newer, ids(cls=Answers), loaded=evaluator.exact_weights)
    assert same.streams == again.streams
    assert exponents_of(again).keys() == MATRICES


def test_unusable_calibration_is_logged_when_a_plan_is_used_again(found):
    net, archive = found
    plan = Plan.from_config(archive.manifest.plan)
    with pytest.raises(SearchError, match="calibration gives no batch"):
        reuse(plan, net, Agreement(net), 50.0, Weights.from_module(net), calibration=Batches([]))


@pytest.mark.parametrize("share", [0.8, 1.2])
def test_other_sizes_keep_the_exponents_of_rows(found, share):
    net, archive = found
    budget = round(archive.nbytes * share)
    made = retarget(net, archive, budget)
    assert made.nbytes <= budget
    first, second = exponents_of(archive), exponents_of(made)
    assert first.keys() == second.keys() == MATRICES
    assert all((first[name] == second[name]).all() for name in MATRICES)
    facts = made.manifest.metrics["search"]
    steps = [
        {e.name: e.payload["step"] for e in found_in.manifest.entries if e.kind == "grid"}
        for found_in in (archive, made)
    ]
    plan = {
        r.pattern: r.methods[0].step for r in Plan.from_config(archive.manifest.plan).rules if r.pattern in steps[1]
    }
    for name, step in plan.items():
        assert steps[1][name] / step == pytest.approx(facts["retargeted"]["factor"], rel=1e-3)
