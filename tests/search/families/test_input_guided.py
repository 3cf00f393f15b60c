"""The search without calibration data: guided by statistics of its evaluation, unguided where there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_network import Net, expect_same, state_of
from small_search import Agreement
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from lightning_compress import Weights, compress, retarget, smallest
from lightning_compress.errors import SearchError
from lightning_compress.quantize import feedback_factor
from lightning_compress.search import evaluating, reuse, uniform_families
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.input_guided import Observer, grid_guides, input_guided_families
from lightning_compress.search.observe import InputStatistics


@pytest.fixture(scope="module")
def found():
    net = Net()
    before, evaluate = state_of(net), Agreement(net)
    archive = smallest(net, evaluate, 10.0, effort="quick", progress=False)
    expect_same(net, before)
    assert evaluate.calls == archive.manifest.metrics["search"]["evaluations"] <= 8
    return net, archive


def facts_of(archive):
    return archive.manifest.metrics["search"]


def test_a_search_is_guided_by_what_its_evaluation_shows(found):
    net, archive = found
    assert facts_of(archive)["observed"]
    assert facts_of(archive)["drop"] <= 10.0
    plain = smallest(net, Agreement(net), 10.0, effort="quick", progress=False, families=uniform_families)
    assert "observed" not in facts_of(plain)
    assert not plain.streams_named("row_exponents")


def test_another_size_keeps_the_steps_of_rows(found):
    net, archive = found
    tiny = retarget(net, archive, max_bytes=archive.nbytes * 9 // 10)
    names = set(archive.streams_named("row_exponents"))
    assert names
    assert names == set(tiny.streams_named("row_exponents"))


def test_a_plan_is_used_again_with_what_the_newer_weights_show():
    net = Net()
    plan = uniform_families(Weights.from_module(net))[0].plan_at(-3.0, {})
    evaluate = Agreement(net)
    guided, plain = (reuse(plan, net, evaluate, 50.0, Weights.from_module(net), observed=on) for on in (True, False))
    assert evaluate.calls == 6
    assert facts_of(guided)["observed"]
    assert "observed" not in facts_of(plain)
    weights = Weights.from_module(net)
    assert plain.restore()["head.weight"].equal(compress(weights, plan).restore()["head.weight"])
    assert not plain.restore()["head.weight"].equal(guided.restore()["head.weight"])


def families_after(net, evaluate):
    with evaluating(net, evaluate, Weights.from_module(net)) as evaluator:
        observer = Observer(evaluator.weights, net)
        before, noise = evaluator.baseline(observer.recording)
        return input_guided_families(evaluator.weights, observer.observations), before, noise, evaluator.count


def test_an_evaluation_that_shows_nothing_leaves_the_plain_family():
    elsewhere = Net()
    (family,), _, _, count = families_after(Net(), lambda _: float(elsewhere(torch.arange(3)).sum()))
    assert not family.guidance
    assert count == 2


def test_a_module_that_is_compiled_is_scored_as_it_is():
    net = Net()
    compiled = torch.compile(net, backend="eager")
    evaluate = Agreement(net)
    *_, before, noise, _ = families_after(compiled, lambda _: evaluate(compiled))
    assert (before.value, noise) == (100.0, 0.0)


@pytest.mark.parametrize("watched", ["fails", "differs", "differs in the last digit"])
def test_the_score_is_that_of_an_evaluation_without_hooks(watched):
    def evaluate(net):
        net(torch.arange(3))
        if not is_in_torch_dispatch_mode():
            return 7.0
        if watched == "fails":
            raise RuntimeError("not here")
        return 7.0 + 1e-9 if "last" in watched else 8.0

    families, before, noise, count = families_after(Net(), evaluate)
    assert (before.value, noise) == (7.0, 0.0)
    assert count == (2 if "last" in watched else 3)
    assert [bool(family.guidance) for family in families] == ([False] if watched == "fails" else [True, False])


def test_noise_is_that_of_two_evaluations_without_hooks():
    values = iter([5.0, 7.0, 7.5])
    *_, before, noise, _ = families_after(Net(), lambda _: Score(next(values)))
    assert (before.value, noise) == (7.0, 0.5)


def test_an_evaluation_that_fails_always_is_an_error():
    net = Net()
    before = state_of(net)
    with pytest.raises(SearchError, match="evaluate failed on the exact weights with ZeroDivisionError"):
        smallest(net, lambda _: 1 / 0, max_drop=1.0, progress=False)
    expect_same(net, before)


def alike(*names):
    """Weights whose outputs are so similar that no matrix gets a step of its own."""
    return Weights.from_state_dict({name: torch.ones(4, 2) for name in names})


def test_guides_have_rows_by_use_and_feedback_by_inputs():
    table = InputStatistics(4, 2, lookups=torch.tensor([100.0, 1, 1, 0], dtype=torch.float64))
    linear = InputStatistics(4, 2, gram=torch.tensor([[2.0, 1], [1, 3]]), inputs=9)
    guides = grid_guides(alike("table", "linear"), {"table": table, "linear": linear, "unseen": InputStatistics(4, 2)})
    assert guides.keys() == {"table", "linear"}
    exponents = guides["table"].exponents.tolist()
    assert exponents[0] < exponents[1] == exponents[2] <= exponents[3]
    assert guides["table"].factor is None
    assert guides["linear"].exponents is None
    assert guides["linear"].factor.equal(feedback_factor(linear.gram, 0.05))
    both = replace(table, gram=linear.gram, softmax_curvature=torch.tensor([0.0, 0, 100, 0], dtype=torch.float64))
    tied = grid_guides(alike("both"), {"both": both})["both"]
    assert tied.factor is not None
    assert tied.exponents[0] == tied.exponents[2] < tied.exponents[1]


class Big(nn.Module):
    """A map whose inputs lie in few directions, as those of trained models do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.directions = nn.Buffer(torch.randn(8, 64) / 8, persistent=False)
        self.map = nn.Linear(64, 128, bias=False)

    def forward(self, x):
        return self.map(x @ self.directions)


def test_errors_fed_back_leave_more_of_the_outputs():
    net, x = Big(), torch.randn(200, 8)
    exact = net(x).detach()

    def evaluate(module):
        return -float((module(x) - exact).square().sum())

    (guided, plain), *_ = families_after(net, evaluate)
    errors = []
    for family in (guided, plain):
        with torch.no_grad():
            net.map.weight.copy_(family.archive(-1.5).restore()["map.weight"])
            errors.append(-evaluate(net))
        net.load_state_dict({"map.weight": torch.as_tensor(family.weights.weights[0].tensor)})
    assert errors[0] < errors[1] / 3
