"""Divergences of files from the exact weights: 0 for these, and rising with the errors."""

from __future__ import annotations

import pytest
import torch
from small_calibration import Answers, ids
from small_network import Net

from lightning_compress import Weights
from lightning_compress.errors import SearchError
from lightning_compress.search import Observer, evaluating
from lightning_compress.search.families.input_error import InputError
from lightning_compress.search.families.output_divergence import OutputDivergence


def noisy(weights, scale):
    generator = torch.Generator().manual_seed(0)
    exact = weights.state_dict()
    return {
        name: t + scale * torch.randn(t.shape, generator=generator) if t.is_floating_point() and t.ndim > 1 else t
        for name, t in exact.items()
    }


def rises_fourfold(measure, weights):
    assert measure(weights.state_dict()) is None
    small, large = (measure(noisy(weights, scale)) for scale in (0.005, 0.01))
    assert large == pytest.approx(4 * small, rel=0.25)


def test_the_error_of_outputs_by_inputs_that_were_seen():
    net = Net().eval()
    weights = Weights.from_module(net)
    observer = Observer(weights, net)
    with torch.no_grad(), observer.recording():
        net(torch.arange(64)).argmax(-1)
    rises_fourfold(InputError(weights, observer.observations), weights)
    seen = {"head.weight": observer.observations["head.weight"]}
    assert InputError(weights, seen)(noisy(weights, 0.1)) is None  # most of the model was not seen


def test_the_divergence_of_outputs_leaves_the_module_as_it_is():
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with evaluating(net, lambda _: 0.0, Weights.from_module(net)) as evaluator:
        rises_fourfold(OutputDivergence(evaluator, ids(cls=Answers)), evaluator.weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training


def test_outputs_that_fail_are_named():
    class Failing(Answers):
        def outputs(self, module, batch):
            raise ValueError("no outputs")

    net = Net()
    with (
        evaluating(net, lambda _: 0.0, Weights.from_module(net)) as evaluator,
        pytest.raises(SearchError, match=r"calibration\.outputs failed on a batch with ValueError: no outputs"),
    ):
        OutputDivergence(evaluator, ids(cls=Failing))
