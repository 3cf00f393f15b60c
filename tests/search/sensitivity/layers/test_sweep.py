"""The sweep: what is compressed, what is measured, how often, and that the module is restored."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import torch
from small_calibration import Batches, Squares, ids, vectors
from small_network import Net, expect_same, state_of
from small_search import Agreement
from torch import nn

from lightning_compress import Interval, Plan, Prune, Raw, Rule, compress
from lightning_compress.errors import SearchError, WeightsError
from lightning_compress.search import layer_sensitivities
from lightning_compress.search.sensitivity.layers import compressed_group, sweep
from lightning_compress.weights import Weights

GROUPS = {"embedding": "embedding.*", "norm": "norm.*", "head": "head.*"}
STRENGTHS = [0.3, Interval(3), Interval(2)]


def test_scores_bytes_and_errors_are_those_of_a_file_that_compresses_the_group_alone():
    net = Net()
    agreement = Agreement(net)
    before = state_of(net)
    result = layer_sensitivities(net, agreement, STRENGTHS, groups={"head": "head.*", "embedding": "embedding.*"})
    expect_same(net, before)
    assert result.baseline == 100.0
    for row, group in enumerate(result.groups):
        for column, methods in enumerate([(Prune(0.3),), (Interval(3),), (Interval(2),)]):
            archive = compress(net, Plan(Rule(f"{group}.*", *methods), Rule("*", Raw())))
            fresh = Net()
            fresh.load_state_dict(archive.restore())
            assert result.scores[row, column] == agreement(fresh.eval())
            part = [entry for entry in archive.manifest.entries if entry.name.startswith(group)]
            assert result.bytes[row, column] == sum(entry.coded_bytes for entry in part)
            exact, restored = (
                torch.cat([state[entry.name].flatten() for entry in part])
                for state in (net.state_dict(), archive.restore())
            )
            error = float((exact - restored).square().sum() / exact.square().sum())
            assert result.estimates["normalized error"][row, column] == pytest.approx(error, rel=1e-5)
    assert result.raw_bytes == (4 * 24 * 49, 4 * 64 * 48)


def test_each_group_is_compressed_and_measured_alone_and_once_per_strength(monkeypatch):
    treated = []
    original = compressed_group.payloads_of

    def recorded(group, *others):
        treated.append([weight.name for weight in group])
        return original(group, *others)

    monkeypatch.setattr(compressed_group, "payloads_of", recorded)
    net = Net()
    nn.init.normal_(net.norm.bias)
    agreement = Agreement(net)
    layer_sensitivities(net, agreement, STRENGTHS, groups=GROUPS)
    assert agreement.calls == 1 + 3 * 3
    assert treated == [
        *[["embedding.weight"]] * 3,
        *[["norm.weight", "norm.bias"]] * 3,
        *[["head.weight", "head.bias"]] * 3,
    ]


def test_weights_that_were_scored_are_not_scored_again():
    """A bias of zeros comes back as it is at every strength, and pruning nothing changes nothing."""
    net = Net()
    agreement = Agreement(net)
    result = layer_sensitivities(net, agreement, [0.0, 0.5, Interval(4)], groups={"zeros": "norm.bias"})
    assert agreement.calls == 1
    assert (result.scores == 100.0).all()


def test_the_fisher_error_of_a_quadratic_loss_is_known():
    """Of half the squared answer of a linear map: its gradient is the answer times the input."""
    module = nn.Linear(6, 1, bias=False)
    calibration = vectors(6, size=1, cls=Squares)
    result = layer_sensitivities(module, lambda _: 0.0, [0.5], groups="tensor", calibration=calibration)
    squares = torch.stack([(module(x).detach() * x).square()[0] for x, _ in calibration]).mean(0)
    weight = module.weight.detach()[0]
    smallest = weight.abs().argsort()[:3]
    expected = float((squares[smallest] * weight[smallest].square()).sum())
    assert result.estimates["Fisher error"][0, 0] == pytest.approx(expected, rel=1e-5)
    assert module.weight.grad is None


def test_only_so_many_batches_are_taken_for_gradients():
    class Counting(Batches):
        losses = 0

        def loss(self, module, batch):
            self.losses += 1
            return super().loss(module, batch)

    net = Net()
    calibration = Counting(ids(6).batches)
    layer_sensitivities(net, Agreement(net), [0.5], groups=GROUPS, calibration=calibration, gradient_batches=2)
    assert calibration.losses == 1 + 2  # one to try it


def test_estimates_are_compared_with_what_is_measured():
    net = Net()
    result = layer_sensitivities(net, Agreement(net), groups="tensor", calibration=ids())
    assert set(result.rank_correlation) == {"normalized error", "Fisher error"}
    assert result.rank_correlation["Fisher error"] > 0.8
    assert result.rank_correlation["normalized error"] > 0.5
    assert result.ranked()[0][1] > 10
    assert np.isfinite(result.scores).all()


def test_gradients_that_fail_are_left_out_with_a_warning(caplog):
    class Broken(Batches):
        def loss(self, module, batch):
            raise ValueError("too long")

    net = Net()
    result = layer_sensitivities(net, Agreement(net), [0.5], groups=GROUPS, calibration=Broken(ids().batches))
    assert list(result.estimates) == ["normalized error"]
    assert "the Fisher-weighted error is left out: calibration.loss failed on the first batch" in caplog.text


def test_a_measurement_that_fails_is_left_out_with_a_warning(caplog):
    class FailsOnce(Agreement):
        def __call__(self, module):
            score = super().__call__(module)
            if self.calls == 3:
                raise RuntimeError("out of memory")
            return math.nan if self.calls == 4 else score

    net = Net()
    nn.init.normal_(net.norm.bias)
    before = state_of(net)
    result = layer_sensitivities(net, FailsOnce(net), STRENGTHS, groups=GROUPS)
    assert np.isnan(result.scores).sum() == 2
    assert np.isnan(result.scores[0, 1])
    assert np.isnan(result.scores[0, 2])
    assert np.isfinite(result.bytes).all()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "evaluate failed on embedding with 3 bits with RuntimeError: out of memory" in warnings[0]
    assert json.loads(result.to_json())["scores"][0][1:] == [None, None]
    expect_same(net, before)


class FailsLater(Agreement):
    def __call__(self, module):
        if self.calls:
            raise KeyError("sentence 7")
        return super().__call__(module)


BAD = {
    "exact weights": (lambda net: lambda _: math.nan, {}, SearchError, "evaluate gave NaN for the exact weights"),
    "infinite": (lambda net: lambda _: math.inf, {}, SearchError, "gave inf for the exact weights, expected a finite"),
    "every measurement": (FailsLater, {}, SearchError, r"evaluate failed on .* with KeyError"),
    "no function": (lambda net: 3, {}, SearchError, "evaluate is 3, expected a function"),
    "groups": (Agreement, {"groups": "layers"}, SearchError, "groups is 'layers'"),
    "pattern": (Agreement, {"groups": {"a": "b*"}}, SearchError, r"pattern 'b\*' matches none"),
    "strengths": (Agreement, {"strengths": []}, SearchError, "strengths is empty"),
    "batches": (Agreement, {"gradient_batches": -1}, SearchError, "gradient_batches is -1"),
    "exclude": (Agreement, {"exclude": ["x"]}, WeightsError, "exclude pattern 'x'"),
}


@pytest.mark.parametrize(("make", "options", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_an_error_and_the_module_is_restored(make, options, kind, message):
    net = Net()
    evaluate = make(net)
    before = state_of(net)
    with pytest.raises(kind, match=message):
        layer_sensitivities(net, evaluate, **{"strengths": STRENGTHS, "groups": GROUPS, **options})
    expect_same(net, before)


def test_a_loss_rises_where_a_score_drops():
    net = Net()
    agreement = Agreement(net)
    options = {"strengths": [0.5], "groups": GROUPS}
    score = layer_sensitivities(net, agreement, **options)
    loss = layer_sensitivities(net, lambda m: -agreement(m), higher_is_better=False, measure="loss", **options)
    assert np.array_equal(loss.drops, score.drops)
    assert loss.baseline == -100.0
    assert loss.columns()[2] == "loss"


def test_averaged_weights_in_place_of_the_modules():
    net, averaged = Net(), Net()
    nn.init.normal_(averaged.head.weight)
    agreement = Agreement(averaged)
    before = state_of(net)
    result = layer_sensitivities(net, agreement, [0.5], groups=GROUPS, weights=Weights.from_module(averaged))
    assert result.baseline == 100.0
    assert (result.scores[[0, 2]] < 100.0).all()
    expect_same(net, before)


def test_the_same_measurement_gives_the_same_file():
    net = Net()
    texts = [layer_sensitivities(net, Agreement(net), STRENGTHS, calibration=ids()).to_json() for _ in range(2)]
    assert texts[0] == texts[1]


def test_progress_is_updated_for_every_measurement(monkeypatch):
    calls = []

    class Telling:
        def __init__(self, *arguments):
            calls.append(arguments)

        def __enter__(self):
            return lambda done, text: calls.append((done, text))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(sweep, "progress_bar", Telling)
    net = Net()
    layer_sensitivities(net, Agreement(net), [0.5], groups=GROUPS, progress=False)
    assert calls[0] == (False, 4, "measuring")
    assert calls[1:] == [(1, "embedding, prune 50 %"), (2, "norm, prune 50 %"), (3, "head, prune 50 %")]
