"""Matrices that make up for earlier rounding errors: smaller differences of the outputs, and files like any other."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from small_calibration import Answers, Batches
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from lightning_compress import Grid, Plan, Rule, Weights, compress
from lightning_compress.compression.pipeline import compress_together
from lightning_compress.search.propagation import ErrorPropagation

WIDTH = 24
COARSE = Plan(Rule("*weight*", Grid(0.5, relative=True, scope="tensor")))


class Perceptron(nn.Module):
    """Correlated inputs, three layers."""

    def __init__(self):
        super().__init__()
        sizes = (WIDTH, 48, 48, 12)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norm = nn.LayerNorm(48)

    def forward(self, x):
        hidden = self.norm(torch.relu(self.layers[0](x)))
        return self.layers[2](torch.relu(self.layers[1](hidden)))


class Recurrent(nn.Module):
    """An LSTM and a linear layer."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, 32, batch_first=True)
        self.head = nn.Linear(32, 12)

    def forward(self, x):
        return self.head(self.lstm(x.reshape(-1, 8, WIDTH))[0]).flatten(0, 1)


class Attends(nn.Module):
    """Two layers of a Transformer's encoder."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 12)

    def forward(self, x):
        return self.head(self.encoder(x.reshape(-1, 8, WIDTH))).flatten(0, 1)


MODULES = (Perceptron, Recurrent, Attends)


def batches(count=8, seed=1, cls=Answers):
    """Correlated inputs ``[128, WIDTH]``; labels do not matter."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(0))
    made = [
        torch.randn(128, 6, generator=generator) @ mixing + 0.1 * torch.randn(128, WIDTH, generator=generator)
        for _ in range(count)
    ]
    return cls([(x, torch.zeros(len(x), dtype=torch.int64)) for x in made])


@contextmanager
def loaded(module):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    try:
        yield
    finally:
        module.load_state_dict(before)


def propagated(module, calibration, plan=COARSE):
    weights = Weights.from_module(module)
    exact = Weights.from_state_dict({n: t.clone() for n, t in module.state_dict().items()}, module=module)
    propagation = ErrorPropagation(exact, module, calibration, lambda: loaded(module))
    assert {w.name for w in weights} == {w.name for w in exact}
    return compress_together(exact, plan, {}, propagation.coded)


@torch.no_grad()
def error(module, state, calibration):
    """Mean squared difference of the outputs from those of the exact weights."""
    exact = [module(x) for x, _ in calibration]
    with loaded(module):
        module.load_state_dict(state)
        return float(sum((module(x) - y).square().mean() for (x, _), y in zip(calibration, exact, strict=True)))


@pytest.fixture(params=MODULES, ids=lambda kind: kind.__name__)
def module(request):
    torch.manual_seed(2)
    return request.param().eval()


def test_outputs_for_other_inputs_are_closer_at_hardly_more_bytes(module):
    alone, together = compress(module.state_dict(), COARSE), propagated(module, batches())
    other = batches(seed=7)
    assert error(module, together.restore(), other) < 0.9 * error(module, alone.restore(), other)
    assert together.nbytes < 1.05 * alone.nbytes


def test_the_file_is_read_back_and_the_module_is_as_before(module, tmp_path):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    archive = propagated(module, batches())
    archive.save(tmp_path / "file.safetensors")
    assert archive.restore().keys() == before.keys()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_it_is_the_same_each_time(module):
    weights = Weights.from_state_dict({n: t.clone() for n, t in module.state_dict().items()}, module=module)
    propagation = ErrorPropagation(weights, module, batches(), lambda: loaded(module))
    first, second = (compress_together(weights, COARSE, {}, propagation.coded) for _ in range(2))
    assert all(torch.equal(a, second.restore()[name]) for name, a in first.restore().items())


def test_a_loss_does_as_well_as_outputs():
    torch.manual_seed(2)
    module = Perceptron().eval()
    by_loss, by_outputs = (propagated(module, batches(cls=cls)).restore() for cls in (Batches, Answers))
    assert all(torch.equal(value, by_outputs[name]) for name, value in by_loss.items())


def test_the_first_matrix_is_rounded_by_itself_and_the_later_ones_are_not():
    torch.manual_seed(2)
    module = Perceptron().eval()
    alone, together = compress(module.state_dict(), COARSE).restore(), propagated(module, batches()).restore()
    differ = {name for name, value in together.items() if not torch.equal(value, alone[name])}
    assert differ == {"layers.1.weight", "layers.2.weight"}


def test_a_model_that_fails_with_rounded_weights_is_coded_all_the_same(caplog):
    torch.manual_seed(2)
    module = Perceptron().eval()

    def outputs(module, batch):
        answers = module(batch[0])
        if module.layers[0].weight.unique().numel() < 200:
            raise RuntimeError("these weights are broken")
        return answers

    calibration = batches()
    calibration.outputs = outputs
    with caplog.at_level(logging.WARNING, "lightning_compress"):
        archive = propagated(module, calibration)
    assert "RuntimeError: these weights are broken" in caplog.text
    assert archive.restore().keys() == module.state_dict().keys()


def test_a_module_that_cannot_be_watched_is_coded_all_the_same(caplog):
    torch.manual_seed(2)
    module, calibration = Perceptron().eval(), batches()

    def outputs(module, batch):
        if is_in_torch_dispatch_mode():
            raise TypeError("no modes here")
        return module(batch[0])

    calibration.outputs = outputs
    with caplog.at_level(logging.WARNING, "lightning_compress"):
        archive = propagated(module, calibration)
    assert "TypeError: no modes here" in caplog.text
    alone = compress(module.state_dict(), COARSE).restore()
    assert all(torch.equal(value, alone[name]) for name, value in archive.restore().items())


def test_half_precision_modules_keep_their_type():
    torch.manual_seed(2)
    module = Perceptron().bfloat16().eval()
    calibration = batches()
    calibration.batches = [(x.bfloat16(), y) for x, y in calibration.batches]
    archive = propagated(module, calibration)
    assert {value.dtype for value in archive.restore().values()} == {torch.bfloat16}
