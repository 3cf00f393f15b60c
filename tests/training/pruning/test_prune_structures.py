"""Every criterion and granularity prunes what it says in a training, keeps it, and resumes bit for bit."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import EMAWeightAveraging
from small_trainings import Recurrent, Small, Vision, expect_same_state, fit_and_keep
from torch import nn

from lightning_compress import (
    CompressCheckpoint,
    Grid,
    Half,
    Plan,
    PruneDuringTraining,
    QuantizeDuringTraining,
    Rule,
    Weights,
    load,
    load_from_checkpoint,
)
from lightning_compress.training import (
    Criterion,
    Granularity,
    Grouping,
    Masks,
    Schedule,
    shrink,
    shrink_to,
    structures_of,
)


class Ordered(Small):
    """Without dropout, in one order of the data; after shrinking, it takes the sizes of a checkpoint."""

    def train_dataloader(self):
        return self.val_dataloader()

    def on_load_checkpoint(self, checkpoint):
        shrink_to(self, checkpoint["state_dict"])


class Attends(Ordered):
    """A Transformer over the four inputs."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 4, 12, dropout=0.0, batch_first=True, norm_first=True)
        self.up, self.down = nn.Linear(1, 8), nn.Linear(8, 1)
        self.net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x):
        return self.down(self.net(self.up(x[..., None]))[:, -1])


class Convolves(Ordered, Vision):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
        self.net = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), *convolutions, nn.Flatten(), nn.Linear(16, 1))


class Remembers(Ordered, Recurrent):
    """An LSTM of two layers."""


class Neurons(Ordered):
    def __init__(self) -> None:
        super().__init__(width=16)
        self.net[2].p = 0.0


CASES = {
    "weight": (Neurons, {}),
    "row": (Neurons, {}),
    "column": (Remembers, {}),
    "block": (Neurons, {"block": (1, 4)}),
    "neuron": (Remembers, {}),
    "head": (Attends, {}),
    "channel": (Convolves, {}),
    "layer": (Attends, {"scope": "tensor"}),
}
PLAN = Plan(Rule("*weight*", Grid(0.05, trellis=0, rate_weight=0), Half()), Rule("*", Half()))


def zero_units(module, kind):
    return [int(each.zero_units().sum()) for each in structures_of(module, kind)]


def test_every_granularity_has_a_case():
    assert set(CASES) == set(get_args(Granularity))


def test_every_granularity_is_pruned_kept_and_resumed_bit_for_bit(tmp_path):
    for name, (make, options) in CASES.items():
        for order, criterion in enumerate(get_args(Criterion)):
            if order and name != "neuron":
                continue
            with naming((name, criterion)):
                folder = tmp_path / name / criterion

                def callback(name=name, criterion=criterion, options=options):
                    return PruneDuringTraining(
                        0.5, start=1, end=6, every=2, granularity=name, criterion=criterion, **options
                    )

                prune = callback()
                whole = fit_and_keep(folder / "whole", make(), prune, max_epochs=2)
                assert 0.3 <= prune.share <= 0.5
                fit_and_keep(folder / "parts", make(), callback(), max_epochs=1)
                source = folder / "parts" / "epoch=0.ckpt"
                parts = fit_and_keep(folder / "parts", make(), callback(), source=source, max_epochs=2)
                expect_same_state(whole, parts)


def test_structures_stay_zero_under_averages_and_quantization_and_in_the_file(tmp_path):
    for kind in ("head", "neuron", "channel", "layer"):
        with naming(kind):
            make, options = CASES[kind]
            prune = PruneDuringTraining(0.5, end=6, every=2, granularity=kind, **options)
            callbacks = (prune, QuantizeDuringTraining(PLAN), CompressCheckpoint(PLAN, on_error="raise"))
            module = fit_and_keep(tmp_path / kind, make(), *callbacks, EMAWeightAveraging(decay=0.5), max_epochs=2)
            expected = zero_units(module, kind)
            assert sum(expected) > 0
            stored = load(tmp_path / kind / "epoch=1.compressed.safetensors")
            fresh = make()
            fresh.load_state_dict(stored)
            assert zero_units(fresh, kind) == expected


def test_a_shrunk_training_goes_on_and_is_loaded_from_both_files(tmp_path):
    for kind in ("head", "neuron", "channel", "layer"):
        with naming(kind):
            make, options = CASES[kind]
            folder = tmp_path / kind
            prune = PruneDuringTraining(0.5, end=6, every=2, granularity=kind, **options)
            module = fit_and_keep(folder, make(), prune, max_epochs=2)
            size = sum(each.numel() for each in module.parameters())
            assert shrink(module) is module
            assert sum(each.numel() for each in module.parameters()) < size
            fit_and_keep(folder / "on", module, CompressCheckpoint("exact", on_error="raise"), max_epochs=2)
            inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                expected = module.eval()(inputs)
                for loaded in (
                    make().__class__.load_from_checkpoint(folder / "on" / "epoch=1.ckpt", weights_only=True),
                    load_from_checkpoint(make, folder / "on" / "epoch=1.compressed.safetensors"),
                ):
                    torch.testing.assert_close(loaded.eval()(inputs), expected, rtol=0, atol=0)
            module.train()
            assert fit_and_keep(folder / "on", module, source=folder / "on" / "epoch=1.ckpt").current_epoch == 3


def test_before_its_start_nothing_changes(tmp_path):
    plain = fit_and_keep(tmp_path / "plain", Attends())
    for order, criterion in enumerate(("magnitude", "fisher")):
        with naming(criterion):
            prune = PruneDuringTraining(0.5, start=98, end=99, granularity="head", criterion=criterion)
            expect_same_state(plain, fit_and_keep(tmp_path / str(order), Attends(), prune))


def test_norms_and_curvature_choose_what_their_papers_say():
    weights = torch.tensor([[3.0, 0.0, 0.0], [1.2, 1.2, 1.2], [0.5, 0.5, 0.5]])
    for criterion, first in (("magnitude", [2, 1, 0]), ("l1", [2, 0, 1])):
        with naming(criterion):
            module = nn.Linear(3, 3, bias=False)
            module.weight.data.copy_(weights)
            order = []
            for share in (0.34, 0.67, 1.0):
                masks = Masks(module, Weights.from_module(module), ["*"], criterion=criterion, grouping=Grouping("row"))
                masks.update(Schedule(share, shape="one-shot"), 0)
                order += [row for row in range(3) if not module.weight[row].any() and row not in order]
            assert order == first
    for criterion, kept in (("taylor", 0), ("fisher", 1)):
        with naming(criterion):  # the first weight was large when gradients were seen, and is small when it is pruned
            module = nn.Linear(2, 1, bias=False)
            module.weight.data.copy_(torch.tensor([[2.0, 1.0]]))
            masks = Masks(module, Weights.from_module(module), ["*"], criterion=criterion)
            module.weight.sum().backward()
            masks.observe()
            module.weight.data.copy_(torch.tensor([[0.1, 1.0]]))
            masks.update(Schedule(0.5, shape="one-shot"), 0)
            assert module.weight[0].nonzero().flatten().tolist() == [kept]


@pytest.mark.parametrize("kind", ["head", "neuron"])
def test_the_parts_that_a_loss_needs_stay(kind):
    """Two of four heads, or neurons, give the target; the others add noise to it that the training removes."""
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(8, 4, 8, dropout=0.0, batch_first=True, norm_first=True)
    teacher = nn.TransformerEncoderLayer(8, 4, 8, dropout=0.0, batch_first=True, norm_first=True)
    teacher.load_state_dict(module.state_dict())
    with torch.no_grad():
        (teacher.self_attn.out_proj if kind == "head" else teacher.linear2).weight[:, 4:] = 0
    inputs = torch.randn(64, 5, 8)
    target = teacher(inputs).detach()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    masks = Masks(module, Weights.from_module(module), None, criterion="taylor", grouping=Grouping(kind))
    schedule = Schedule(0.5, start=40, shape="one-shot")
    for step in range(80):
        loss = nn.functional.mse_loss(module(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        masks.observe()
        optimizer.step()
        masks.update(schedule, step)
    assert masks.share == 0.5
    assert nn.functional.mse_loss(module(inputs), target) < 0.02
