"""Bad input raises an error that says what to do, and the module is restored."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
import torch
from small_network import Net, expect_same, state_of
from small_search import Agreement, Rounded
from torch import nn

from lightning_compress import Half, Plan, Rule, Weights, smallest
from lightning_compress.errors import CompressionError, SearchError, WeightsError
from lightning_compress.search import reuse


@pytest.fixture
def net():
    module = Net()
    module(torch.arange(8)).sum().backward()
    return module


def raises(module):
    raise RuntimeError("the GPU is on fire")


class RaisesLater(Agreement):
    def __call__(self, module):
        nn.init.zeros_(module.head.weight)
        module.train()
        if self.calls == 2:
            raise KeyError("sentence 7")
        return super().__call__(module)


class NanLater(Agreement):
    def __call__(self, module):
        score = super().__call__(module)
        return math.nan if self.calls == 4 else score


class Wavering(Agreement):
    def __call__(self, module):
        return super().__call__(module) - 7.0 * self.calls


def draws_from_the_system(module):
    return float(np.random.default_rng().random())


EVALUATIONS = {
    "raises": (lambda net: raises, "evaluate failed on the exact weights with RuntimeError: the GPU is on fire"),
    "raises later": (RaisesLater, r"evaluate failed on a candidate of [\d,]+ bytes with KeyError: 'sentence 7'"),
    "NaN": (lambda net: lambda module: math.nan, "evaluate gave NaN for the exact weights"),
    "NaN later": (NanLater, r"evaluate gave NaN for a candidate of [\d,]+ bytes, expected a number"),
    "infinite": (lambda net: lambda module: math.inf, "inf for the exact weights, expected finite numbers"),
    "minus infinite": (lambda net: lambda module: -math.inf, "-inf for the exact weights, expected finite numbers"),
    "nothing": (lambda net: lambda module: None, "evaluate returned NoneType: None, expected a number"),
    "a dictionary": (
        lambda net: lambda module: {"bleu": 3},
        r"evaluate returned dict: \{'bleu': 3\}, expected a number",
    ),
    "wavering": (Wavering, "evaluate is not repeatable: it gave 93.0 .* 7 away, no less than max_drop=3"),
    "random": (lambda net: draws_from_the_system, "evaluate"),
    "no function": (lambda net: 3.5, "evaluate is 3.5, expected a function"),
}


@pytest.mark.parametrize(("make", "told"), EVALUATIONS.values(), ids=EVALUATIONS)
def test_an_evaluation_that_cannot_be_used(net, make, told):
    evaluate = make(net)
    net.train()
    net.norm.eval()
    values, modes = state_of(net), [part.training for part in net.modules()]
    gradient, kept = net.head.weight.grad, net.head.weight.grad.clone()
    states = random.getstate(), torch.get_rng_state()
    with pytest.raises(SearchError, match=told):
        smallest(net, evaluate, 0.001 if told == "evaluate" else 3.0, families=lambda w: (Rounded(w),), progress=False)
    expect_same(net, values)
    assert [part.training for part in net.modules()] == modes
    assert net.head.weight.grad is gradient
    assert torch.equal(gradient, kept)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_the_cause_is_kept(net):
    with pytest.raises(SearchError) as caught:
        smallest(net, raises, 3.0, progress=False)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert isinstance(caught.value, CompressionError)


def test_an_interrupt_leaves_the_module_too(net):
    values = state_of(net)

    def interrupted(module):
        nn.init.zeros_(module.head.weight)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest(net, interrupted, 3.0, progress=False)
    expect_same(net, values)


class Batches:
    """Calibration data whose parts a test replaces."""

    def __init__(self, batches=None, loss=None):
        self.batches = [torch.arange(8)] if batches is None else batches
        self.loss_of = loss

    def __iter__(self):
        return iter(self.batches)

    def loss(self, module, batch):
        nn.init.zeros_(module.embedding.weight) if self.loss_of == "spoil" else None
        module.train()
        out = module(batch)
        if callable(self.loss_of):
            return self.loss_of(out)
        return out.square().mean()


class Outputs:
    """Calibration data without a loss."""

    def __init__(self, batches=None, outputs=lambda out: out):
        self.batches, self.outputs_of = [torch.arange(8)] if batches is None else batches, outputs

    def __iter__(self):
        return iter(self.batches)

    def outputs(self, module, batch):
        return self.outputs_of(module(batch))


class Once(Batches):
    def __iter__(self):
        return self

    def __next__(self):
        return torch.arange(8)


class Broken(Batches):
    def __iter__(self):
        raise OSError("no such folder")


class WithGenerator(Batches):
    """Its batches are gone after the first time."""

    def __init__(self):
        super().__init__()
        self.batches = (batch for batch in [torch.arange(8)])


CALIBRATIONS = {
    "a list": ([torch.arange(8)], r"calibration is a list without loss\(module, batch\) and outputs\(module, batch\)"),
    "an iterator": (Once(), "calibration is an iterator"),
    "a generator inside": (WithGenerator(), "calibration gives no batch, or gives them only once"),
    "empty": (Batches([]), "calibration gives no batch"),
    "broken": (Broken(), "calibration fails to give a batch, with OSError: no such folder"),
    "batches that do not fit": (Batches([torch.rand(3)]), "calibration.loss failed on the first batch with"),
    "ids beyond the table": (
        Batches([torch.tensor([999])]),
        "calibration.loss failed on the first batch with IndexError",
    ),
    "no scalar": (Batches(loss=lambda out: out), r"calibration.loss gave tensor\("),
    "a number": (Batches(loss=lambda out: 1.5), "calibration.loss gave 1.5, expected a finite scalar tensor"),
    "no gradient": (Batches(loss=lambda out: out.detach().sum()), "expected a finite scalar tensor that gradients"),
    "NaN": (Batches(loss=lambda out: out.sum() * math.nan), "expected a finite scalar tensor"),
    "outputs that fail": (Outputs([torch.rand(3)]), "calibration.outputs failed on the first batch with"),
    "outputs as a number": (Outputs(outputs=lambda out: 1.5), "calibration.outputs gave 1.5, expected a tensor"),
    "outputs without gradient": (Outputs(outputs=torch.Tensor.detach), "calibration.outputs gave tensor"),
    "outputs of one class": (
        Outputs(outputs=lambda out: out[..., :1]),
        r"calibration.outputs depends on no weight, or has one class only, .*: give loss\(module, batch\) too",
    ),
}


@pytest.mark.parametrize(("calibration", "told"), CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_calibration_that_cannot_be_used(net, calibration, told):
    values, gradient = state_of(net), net.head.weight.grad
    with pytest.raises(SearchError, match=told):
        smallest(net, Agreement(net), 3.0, calibration=calibration, progress=False)
    expect_same(net, values)
    assert net.head.weight.grad is gradient


def test_calibration_that_spoils_the_module_does_not(net):
    values = state_of(net)
    smallest(
        net, Agreement(net), 9.0, calibration=Batches(loss="spoil"), families=lambda w: (Rounded(w),), progress=False
    )
    expect_same(net, values)


def test_an_unreachable_size_names_the_smallest(net):
    values, agreement = state_of(net), Agreement(net)
    with pytest.raises(
        SearchError, match=r"no file of 1,000 bytes can be made: the smallest has [\d,]+ bytes"
    ) as caught:
        smallest(net, agreement, max_bytes=1000, families=lambda w: (Rounded(w),), progress=False)
    expect_same(net, values)
    reachable = int(str(caught.value).split("max_bytes=")[1].split()[0])
    archive = smallest(net, agreement, max_bytes=reachable, families=lambda w: (Rounded(w),), progress=False)
    assert archive.nbytes <= reachable


def test_exact_weights_below_min_score(net):
    values = state_of(net)
    with pytest.raises(SearchError, match=r"the exact weights score 100\.0, which is below min_score=101 already"):
        smallest(net, Agreement(net), 3.0, min_score=101, progress=False)
    expect_same(net, values)


DROP = "expected a finite number from 0 in the unit of the score, such as 0.3, or a share"
BYTES = "expected a whole number of bytes from 1: give the size of the file"
SCORE = "expected a finite number: give the lowest score that the file may have"
CLASSES = "expected class name → pattern or list of patterns"
ARGUMENTS = [
    *(("max_drop", value, f"max_drop is {value!r}, {DROP}") for value in ("0.3", -1, math.nan, math.inf, True, [0.3])),
    *(
        ("max_bytes", value, f"max_bytes is {value!r}, {BYTES}")
        for value in ("x", -1, 0, 0.5, math.nan, math.inf, True)
    ),
    *(("min_score", value, f"min_score is {value!r}, {SCORE}") for value in ("x", math.nan, -math.inf, False)),
    *(("effort", value, f"effort={value!r} is not known: write 'quick'") for value in ("nonsense", 3, None, ["quick"])),
    *(("exclude", value, f"exclude is {value!r}, expected a list of patterns") for value in ("head.*", 3, [3])),
    *(("classes", value, f"classes is {value!r}, {CLASSES}") for value in ("head", ["head"], {"a": 3}, {"a": [3]})),
    ("max_drop", None, "max_drop is needed: how much of 'Agreement' the file may lose, in its own unit"),
    ("families", 3, "families is 3, expected a function: weights → a list of families"),
    ("weights", {"a": 1}, "weights is a dict, expected Weights: make them with Weights.from_state_dict"),
    (
        "calibration",
        3,
        "calibration is a int without loss(module, batch) and outputs(module, batch): give",
    ),
]


@pytest.mark.parametrize(("name", "value", "told"), ARGUMENTS, ids=[f"{n}={v!r}" for n, v, _ in ARGUMENTS])
def test_a_wrong_argument_is_refused_before_anything_is_evaluated(net, name, value, told):
    values, agreement = state_of(net), Agreement(net)
    with pytest.raises(SearchError, match=re.escape(told)):
        smallest(net, agreement, **{"max_drop": 3.0, name: value}, progress=False)
    assert agreement.calls == 0
    expect_same(net, values)


@pytest.mark.parametrize(("name", "value"), [("exclude", ["head.*"]), ("classes", {"head": "head.*"})])
def test_patterns_beside_weights_are_refused(net, name, value):
    agreement, weights = Agreement(net), Weights.from_module(net)
    with pytest.raises(SearchError, match=f"{name} is .* expected nothing beside weights: give it to Weights"):
        smallest(net, agreement, 3.0, weights=weights, **{name: value}, progress=False)
    assert agreement.calls == 0


@pytest.mark.parametrize("value", ["0.3", math.nan])
def test_a_wrong_drop_is_refused_when_a_plan_is_used_again(net, value):
    agreement = Agreement(net)
    with pytest.raises(SearchError, match=f"max_drop is {value!r}, {DROP}"):
        reuse(Plan(Rule("*", Half())), net, agreement, value, Weights.from_module(net))
    assert agreement.calls == 0


def test_whole_numbers_of_other_types_are_bytes(net):
    agreement = Agreement(net)
    for max_bytes in (6000.0, np.int64(6000)):
        archive = smallest(net, agreement, max_bytes=max_bytes, families=lambda w: (Rounded(w),), progress=False)
        assert archive.nbytes <= 6000


def test_no_family_is_an_error(net):
    with pytest.raises(SearchError, match="families gave none: return a list of at least one family"):
        smallest(net, Agreement(net), 3.0, families=lambda weights: [], progress=False)


def test_a_module_that_is_none(net):
    with pytest.raises(SearchError, match="the module is a OrderedDict, expected a torch"):
        smallest(net.state_dict(), Agreement(net))


def test_weights_without_values(net):
    with pytest.raises(WeightsError):
        smallest(nn.LazyLinear(3), lambda module: 1.0, 3.0, progress=False)
    with pytest.raises(WeightsError, match=r"nothing\.\*"):
        smallest(net, Agreement(net), 3.0, exclude=["nothing.*"], progress=False)
