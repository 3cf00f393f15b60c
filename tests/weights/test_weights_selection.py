"""Trained parameters are stored wherever they lie; what is left out is told once, with its bytes."""

from __future__ import annotations

import logging

import pytest
import torch
import torchmetrics
from each_case import naming
from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.messages import log_once as log_once_module
from lightning_compress.weights import Weights


class ArcFace(nn.modules.loss._Loss):
    """A loss of torch's base class with a trained parameter."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("margins", torch.rand(3))


class LearnedMetric(torchmetrics.Metric):
    """A metric around a frozen network, with one trained parameter."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), persistent=True)
        self.add_state("seen", [], persistent=True)
        self.net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False)
        self.log_scale = nn.Parameter(torch.zeros(2))

    def update(self):
        pass

    def compute(self):
        return self.total


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 4)
        self.criterion = nn.CrossEntropyLoss(weight=torch.rand(3))
        self.loss = ArcFace()
        self.loss_fn = nn.ModuleDict({"proxies": nn.Embedding(3, 4)})
        self.metrics = nn.ModuleList([LearnedMetric()])
        self.metric = torchmetrics.MeanMetric()  # not persistent: not in the state dict


STORED = [
    "net.weight",
    "net.bias",
    "criterion.weight",
    "loss.W",
    "loss.margins",
    "loss_fn.proxies.weight",
    "metrics.0.log_scale",
]


@pytest.fixture(autouse=True)
def told_nothing_yet():
    log_once_module.log_once.cache_clear()


def test_losses_and_trained_parameters_of_metrics_are_stored():
    torch.manual_seed(0)
    model = Model()
    for case, source in {"module": model, "wrapped": nn.DataParallel(model)}.items():
        with naming(case):
            weights = Weights.from_module(source)
            assert sorted(w.name.removeprefix("module.") for w in weights) == sorted(STORED)
            left_out = set(source.state_dict()) - {weight.name for weight in weights}
            assert set(weights.excluded) == left_out
            assert any(name.endswith("metrics.0.net.0.weight") for name in left_out)


def test_without_the_module_everything_is_stored():
    state = {name: tensor for name, tensor in Model().state_dict().items() if isinstance(tensor, torch.Tensor)}
    weights = Weights.from_state_dict(state)
    assert {weight.name for weight in weights} == set(state)
    assert weights.excluded == ()


def test_what_is_left_out_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    model = Model()
    for _ in range(2):
        Weights.from_module(model, exclude=["loss_fn.*"])
    metrics, asked = (record.getMessage() for record in caplog.records)
    assert metrics.startswith("the state of metrics is left out: metrics.0.")
    assert metrics.endswith("(tensors: 9, bytes: 156)")
    assert asked == "exclude and compression_exclude() leave out: loss_fn.proxies.weight (tensors: 1, bytes: 48)"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_what_cannot_be_stored_may_be_left_out():
    state = {"net.weight": torch.ones(2), "graph.adjacency": torch.eye(2).to_sparse(), "graph.names": ["a"]}
    with pytest.raises(WeightsError, match="leave it out"):
        Weights.from_state_dict({name: state[name] for name in ("net.weight", "graph.adjacency")})
    weights = Weights.from_state_dict(state, exclude=["graph.*"])
    assert [weight.name for weight in weights] == ["net.weight"]
    assert weights.excluded == ("graph.adjacency", "graph.names")
