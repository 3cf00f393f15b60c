"""Recovery: steps and one-dimensional parameters change, indices do not; outputs come closer to the exact ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_calibration import Answers, ids, vectors
from small_network import Net, expect_same, state_of
from torch import nn

from lightning_compress import Half, Plan, Rule, Weights
from lightning_compress.compression.payloads import payloads_of
from lightning_compress.compression.pipeline import assemble
from lightning_compress.errors import SearchError
from lightning_compress.quantize import Grid, GridPayload, HalfPayload
from lightning_compress.search import evaluating
from lightning_compress.search.families.recovery import Recovery, divergence

PLAN = Plan(
    Rule("*running*", Half(), optional=True),
    Rule("*.bias", Grid(0.01), optional=True),
    Rule("norm.weight", Grid(0.01), optional=True),
    Rule("*", Grid(0.6, relative=True, scope="tensor"), Half()),
)


COARSE = Plan(Rule("*bias*", Half()), Rule("*", Grid(1.2, relative=True, scope="tensor"), Half()))


def recovered(module, calibration, *, batches=20, plan=PLAN, weights=None):
    """The payloads before and after; the module is as it was."""
    before, wanted = state_of(module), [p.requires_grad for p in module.parameters()]
    with evaluating(module, lambda _: 0.0, weights or Weights.from_module(module)) as evaluator:
        exact = evaluator.weights
        payloads = list(payloads_of(exact, plan, {}))
        better = Recovery(exact, module, calibration, batches, evaluator.exact_weights)(plan, payloads)
    expect_same(module, before)
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert all(p.grad is None for p in module.parameters())
    return exact, payloads, better


@torch.no_grad()
def distance(module, calibration, exact, payloads):
    """Divergence of the answers from those of the exact weights."""
    module.eval()
    wanted = [module(x).log_softmax(-1) for x, _ in calibration]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    restored = (replace(weight, tensor=payload.restore()) for weight, payload in zip(exact, payloads, strict=True))
    module.load_state_dict(replace(exact, weights=tuple(restored)).state_dict())
    given = [module(x).log_softmax(-1) for x, _ in calibration]
    module.load_state_dict(state)
    return sum(float(divergence(g, w)) for g, w in zip(given, wanted, strict=True))


def test_answers_come_closer_to_those_of_the_exact_weights():
    net, calibration = Net(), ids(cls=Answers)
    exact, before, after = recovered(net, calibration, batches=60)
    assert distance(net, calibration, exact, after) < 0.95 * distance(net, calibration, exact, before)


def test_only_steps_and_one_dimensional_parameters_change():
    exact, before, after = recovered(Net(), ids(cls=Answers))
    assert len(after) == len(before) == len(exact.weights)
    changed = set()
    for weight, first, second in zip(exact, before, after, strict=True):
        assert type(first) is type(second)
        if weight.tensor.ndim > 1:
            assert isinstance(second, GridPayload)
            assert torch.equal(second.points, first.points)
            assert np.array_equal(second.words, first.words)
            assert 0.9 < second.step / first.step < 1.1
        if not torch.equal(first.restore(), second.restore()):
            changed.add(weight.name)
    assert {"embedding.weight", "head.weight", "head.bias"} <= changed
    assert not changed & {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_the_same_input_gives_the_same_archive():
    archives = []
    for _ in range(2):
        exact, _, after = recovered(Net(), ids(cls=Answers))
        archives.append(assemble(exact, PLAN, after))
    assert archives[0].streams == archives[1].streams
    assert archives[0].manifest == archives[1].manifest


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(8)
        self.table, self.head = nn.Embedding(24, 8), nn.Linear(8, 24)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x % 24))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.lstm, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.lstm(x[:, None].expand(-1, 3, -1))[0][:, -1])


@pytest.mark.parametrize(
    ("make", "calibration"),
    [
        (Tied, ids(cls=Answers)),
        (Recurrent, vectors(6, cls=Answers)),
        (lambda: nn.Linear(6, 4), vectors(6, cls=Answers)),
    ],
    ids=["tied", "recurrent", "linear"],
)
def test_other_modules(make, calibration):
    module = make().train()
    exact, before, after = recovered(module, calibration, plan=COARSE)
    assert distance(module, calibration, exact, after) < distance(module, calibration, exact, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_width_comes_back_in_its_own(dtype):
    module = nn.Linear(6, 4).to(dtype)
    calibration = Answers([(x.to(dtype), y) for x, y in vectors(6)])
    _, _, after = recovered(module, calibration, plan=Plan(Rule("*", Grid(0.1), Half())))
    assert all(payload.restore().dtype == dtype for payload in after)
    assert all(bool(payload.restore().isfinite().all()) for payload in after)


def test_steps_stay_where_the_dtype_would_not_hold_what_they_make():
    module = nn.Linear(6, 4, bias=False).half()
    with torch.no_grad():
        module.weight.copy_(torch.randn(4, 6).sign() * 65504)
    calibration = Answers([(x.half() * 1e-5, y) for x, y in vectors(6)])
    _, before, after = recovered(module, calibration, plan=Plan(Rule("*", Grid(65504.0, trellis=0), Half())))
    assert isinstance(before[0], GridPayload)
    assert bool(after[0].restore().isfinite().all())


def test_matrices_on_no_grid_and_parameters_out_of_reach_stay():
    module = Net()
    module.spare = nn.Linear(8, 8)
    plan = Plan(Rule("head.weight", Half()), *PLAN.rules)
    exact, before, after = recovered(module, ids(cls=Answers), plan=plan)
    for weight, first, second in zip(exact, before, after, strict=True):
        if weight.name in {"head.weight", "spare.weight", "spare.bias"}:
            assert torch.equal(first.restore(), second.restore())
    assert isinstance(after[[w.name for w in exact].index("head.weight")], HalfPayload)


def test_a_module_without_parameters_has_nothing_to_tune():
    module = nn.BatchNorm1d(4, affine=False)
    calibration = Answers([(torch.randn(5, 4), torch.zeros(5, dtype=torch.long))])
    _, before, after = recovered(module, calibration, plan=Plan(Rule("*", Half())))
    assert before == after


def test_names_may_differ_by_wrappers():
    net = Net()
    wrapped = {f"_orig_mod.{name}": tensor.clone() for name, tensor in net.state_dict().items()}
    _, _, plain = recovered(net, ids(cls=Answers))
    _, _, other = recovered(net, ids(cls=Answers), weights=Weights.from_state_dict(wrapped))
    assert all(torch.equal(a.restore(), b.restore()) for a, b in zip(plain, other, strict=True))


class Masked(Answers):
    """One class is impossible."""

    def outputs(self, module, batch):
        answers = module(batch[0])
        return answers.masked_fill(torch.arange(answers.shape[-1]) == 3, -math.inf)


def test_impossible_classes_do_not_count():
    exact, before, after = recovered(Net(), ids(cls=Masked))
    assert any(not torch.equal(a.restore(), b.restore()) for a, b in zip(before, after, strict=True))
    assert all(bool(p.restore().isfinite().all()) for w, p in zip(exact, after, strict=True) if "track" not in w.name)


class Failing(Answers):
    def __init__(self, what):
        super().__init__(ids().batches)
        self.what = what

    def outputs(self, module, batch):
        answers = module(batch[0])
        if self.what == "raises":
            raise KeyError("target")
        if self.what == "tuple":
            return answers, None
        if self.what == "detached":
            return answers.detach()
        return answers * math.nan


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("raises", "calibration.outputs failed on a batch with KeyError: 'target'"),
        ("tuple", r"with AttributeError: .*\. It is to return the scores before the softmax"),
        ("detached", "with RuntimeError: .* that gradients flow from"),
        ("nan", "calibration.outputs gives NaN with the exact weights"),
    ],
)
def test_outputs_that_cannot_be_used_leave_the_module_as_it_was(what, told):
    net = Net()
    before = state_of(net)
    with pytest.raises(SearchError, match=told):
        recovered(net, Failing(what))
    expect_same(net, before)


class Breaking(Answers):
    """A candidate's answers overflow, those of the exact weights do not."""

    def __init__(self, module):
        super().__init__(ids().batches)
        self.exact = module.head.weight.detach().clone()

    def outputs(self, module, batch):
        answers = module(batch[0])
        return answers if torch.equal(module.head.weight, self.exact) else answers * math.inf


def test_gradients_that_are_not_finite_are_not_taken():
    net = Net()
    _, before, after = recovered(net, Breaking(net), batches=3)
    assert all(torch.equal(a.restore(), b.restore()) for a, b in zip(before, after, strict=True))


def test_divergence_is_that_of_kullback_and_leibler():
    given, wanted = torch.randn(2, 5, 7).log_softmax(-1)
    expected = nn.functional.kl_div(given, wanted, log_target=True, reduction="sum")
    torch.testing.assert_close(divergence(given, wanted), expected)
    assert float(divergence(wanted, wanted)) == 0.0
