"""Bits go where quantization would cost the loss most, within the mean that is asked for."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, loader, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import (
    CompressCheckpoint,
    Half,
    Interval,
    QuantizeDuringTraining,
    compress,
    load_from_checkpoint,
)
from lightning_compress.errors import TrainingError
from lightning_compress.training import mixed_bits

pytestmark = pytest.mark.usefixtures("quick_coding")


class Parallel(Small):
    """Two paths of equal weights, of which the second counts a thousandth."""

    def __init__(self):
        super().__init__()
        self.net = nn.ModuleList([nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 1)) for _ in range(2)])
        self.net[1].load_state_dict(self.net[0].state_dict())

    def forward(self, x):
        return self.net[0](x) + 1e-3 * self.net[1](x)


class Pairs:
    """The batches of the training as calibration data."""

    def __iter__(self):
        return iter(loader())

    def loss(self, module, batch):
        return F.mse_loss(module(batch[0]), batch[1])


def bits_of(plan):
    return {rule.pattern: rule.methods[0].bits for rule in plan.rules[:-1]}


def outputs(module, plan=None):
    """What the module computes, with its weights as a file of a plan restores them."""
    if plan is not None:
        other = Parallel()
        other.load_state_dict(compress(module, plan).restore())
        module = other
    with torch.no_grad():
        return torch.cat([module(x) for x, _ in loader()])


def test_bits_follow_the_loss_and_keep_to_their_mean():
    module = Parallel()
    exact = outputs(module)
    plan = mixed_bits(module, Pairs(), 5, choices=(2, 5, 8))
    bits, sizes = bits_of(plan), {name: tensor.numel() for name, tensor in module.named_parameters()}
    assert bits["net.0.0.weight"] > bits["net.1.0.weight"] == 2
    assert sum(bits[name] * sizes[name] for name in bits) <= 5 * sum(sizes[name] for name in bits)
    equal = mixed_bits(module, Pairs(), 5, choices=(5,))
    assert set(bits_of(equal).values()) == {5}
    assert (outputs(module, plan) - exact).norm() < 0.5 * (outputs(module, equal) - exact).norm()
    assert module.training


def test_a_training_quantizes_by_the_plan(tmp_path):
    module = Parallel()
    plan = mixed_bits(module, Pairs(), 4, quantizer=lambda bits: Interval(bits, 1.0, scope="tensor"))
    save = ModelCheckpoint(tmp_path, filename="last")
    run = trainer(tmp_path, QuantizeDuringTraining(plan), CompressCheckpoint(plan, on_error="raise"), save)
    run.fit(module)
    loaded = load_from_checkpoint(Parallel, tmp_path / "last.compressed.safetensors")
    again = trainer(tmp_path).validate(loaded, verbose=False)[0]["val_loss"]
    assert again == run.callback_metrics["val_loss"].item()
    assert len(loaded.net[1][0].weight.unique()) <= 2**8


def test_what_cannot_be_allocated_is_refused():
    for options, message in (
        ({"bits": 1.5}, "bits is 1.5"),
        ({"choices": ()}, r"choices is \(\)"),
        ({"choices": (2.5,)}, r"choices is \(2\.5,\)"),
        ({"quantizer": lambda bits: Half()}, r"quantizer gives Half"),
    ):
        with naming(options), pytest.raises(TrainingError, match=message):
            mixed_bits(Parallel(), Pairs(), **options)

    class Constant(Pairs):
        def loss(self, module, batch):
            return module.net[0][2].bias.sum()

    with pytest.raises(TrainingError, match="depends on no matrix"):
        mixed_bits(Parallel(), Constant())
