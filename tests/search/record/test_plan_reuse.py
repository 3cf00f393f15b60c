"""A plan found before: used where it holds, refused where it does not."""

from __future__ import annotations

import pytest
from small_network import Net, expect_same, state_of
from small_search import Agreement

from lightning_compress import Half, Interval, Plan, Rule, Weights
from lightning_compress.errors import PlanError
from lightning_compress.search import reuse

COARSE = Plan(Rule("*", Interval(1)))


@pytest.mark.parametrize(("plan", "holds"), [(Plan(Rule("*", Half())), True), (COARSE, False)])
def test_it_is_measured_on_the_newer_weights(plan, holds):
    net = Net()
    evaluate, before = Agreement(net, statistics=True), state_of(net)
    archive = reuse(plan, net, evaluate, 5.0, Weights.from_module(net))
    expect_same(net, before)
    assert evaluate.calls == 3
    assert (archive is not None) == holds
    if archive is not None:
        found = archive.manifest.metrics["search"]
        assert found["drop"] <= 5.0
        assert found["evaluations"] == 3
        ((_, nbytes, score),) = found["frontier"]
        assert score == found["score_after"]
        assert nbytes < archive.nbytes < nbytes + 1000


def test_a_plan_for_another_model_is_an_error():
    net = Net()
    with pytest.raises(PlanError, match=r"'lstm\.\*'"):
        reuse(Plan(Rule("lstm.*", Half())), net, Agreement(net), 5.0, Weights.from_module(net))
