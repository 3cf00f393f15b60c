"""Layers that were skipped in training can be removed at less cost; the callback changes nothing else."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from small_trainings import Small, expect_same_state, fit_and_keep
from torch import nn

from lightning_compress import CompressCheckpoint, LayerDrop, Plan, Raw, Rule, compress, load_from_checkpoint
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.training import LayerSkips, drop_layers, register_layers, shrink_to
from lightning_compress.training.structures import ResidualLayer


class Stacked(Small):
    """A Transformer over the four inputs, without dropout, in one order of the data."""

    def __init__(self, layers: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.up, self.down = nn.Linear(1, 8), nn.Linear(8, 1)
        self.net = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x):
        return self.down(self.net(self.up(x[..., None]))[:, -1])

    def train_dataloader(self):
        return self.val_dataloader()

    def on_load_checkpoint(self, checkpoint):
        shrink_to(self, checkpoint["state_dict"])


class Widens(nn.TransformerEncoderLayer):
    """A layer that gives another shape."""

    def forward(self, x, **_):
        return torch.cat([x, x], -1)


def test_a_training_with_skips_loses_less_when_layers_are_removed():
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    target = inputs.sum(1, keepdim=True).tanh()
    losses = {}
    for share in (0.0, 0.5):
        module = Stacked()
        skips = LayerSkips(module, share)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(150):
            loss = nn.functional.mse_loss(module(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        skips.remove()
        drop_layers(module, 0.5)
        assert len(module.net.layers) == 2
        losses[share] = nn.functional.mse_loss(module(inputs), target).item()
    assert losses[0.5] < 0.5 * losses[0.0]


def test_the_share_of_layers_is_skipped_in_training_alone():
    module = Stacked()
    skips = LayerSkips(module, 0.3, ["net.*"])
    seen = []
    for layer in module.net.layers:
        layer.register_forward_hook(lambda _, args, output: seen.append(bool((args[0] == output).all())))
    inputs = torch.randn(2, 4)
    for _ in range(100):
        module.train()(inputs)
    assert 0.2 < sum(seen) / len(seen) < 0.4
    seen.clear()
    with torch.no_grad():
        module.train()(inputs)
    module.eval()(inputs)
    assert not any(seen)
    skips.remove()
    module.train()(inputs)
    assert not any(seen)


def test_the_callback_resumes_bit_for_bit_and_without_a_share_changes_nothing(tmp_path):
    plain = fit_and_keep(tmp_path / "plain", Stacked())
    expect_same_state(plain, fit_and_keep(tmp_path / "none", Stacked(), LayerDrop(0.0)))
    whole = fit_and_keep(tmp_path / "whole", Stacked(), LayerDrop(0.5))
    with pytest.raises(AssertionError):
        expect_same_state(plain, whole)
    folder = tmp_path / "whole"
    expect_same_state(whole, fit_and_keep(folder, Stacked(), LayerDrop(0.5), source=folder / "epoch=0.ckpt"))
    assert not any(layer._forward_hooks for layer in whole.net.layers)


def test_a_module_with_removed_layers_is_exported_and_loaded_back(tmp_path):
    module = fit_and_keep(tmp_path, Stacked(), LayerDrop(0.3), CompressCheckpoint("exact", on_error="raise"))
    smaller = drop_layers(module.eval(), 0.5)
    path = tmp_path / "dropped.safetensors"
    whole = (tmp_path / "epoch=2.compressed.safetensors").stat().st_size
    assert compress(smaller, Plan(Rule("*", Raw()))).save(path) < 0.7 * whole
    inputs = torch.randn(5, 4)
    loaded = load_from_checkpoint(Stacked, path).eval()
    torch.testing.assert_close(loaded(inputs), smaller(inputs), rtol=0, atol=0)


def test_bad_input_is_refused(tmp_path):
    for arguments in ({"share": 1.0}, {"share": -0.1}, {"seed": -1}, {"layers": "*"}):
        with naming(arguments), pytest.raises(CallbackError, match=next(iter(arguments))):
            LayerDrop(**arguments)
    for module, layers in ((Small(), None), (Stacked(), ["decoder.*"])):
        with naming(type(module)), pytest.raises(CallbackError, match="is known to have a layer"):
            fit_and_keep(tmp_path, module, LayerDrop(layers=layers))
    module = Stacked()
    module.net.layers[1].gradient_checkpointing = True
    with pytest.raises(CallbackError, match=r"net\.layers\.1.*gradient checkpointing"):
        fit_and_keep(tmp_path, module, LayerDrop())
    register_layers(ResidualLayer(lambda _: False), Widens)
    stack = nn.ModuleList([Widens(4, 1, 4)])
    LayerSkips(nn.ModuleDict({"stack": stack}), 0.999)
    with pytest.raises(TrainingError, match=r"'stack\.0' does not give a tensor of the shape"):
        stack[0](torch.zeros(1, 2, 4))
