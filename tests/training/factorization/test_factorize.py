"""Factors in place of matrices: what they compute, which ranks they get, and that they train on and come back."""

from __future__ import annotations

import logging
import sys

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import (
    CompressCheckpoint,
    Distill,
    Grid,
    Half,
    Plan,
    QuantizeDuringTraining,
    Raw,
    Rule,
    Weights,
    compress,
    load_from_checkpoint,
)
from lightning_compress.errors import MissingLibraryError, TrainingError
from lightning_compress.training import (
    FactoredConv2d,
    FactoredEmbedding,
    FactoredLinear,
    SeparableConv2d,
    factorize,
    factorize_to,
    ranks_of,
)

EXACT = Plan(Rule("*", Raw()))


def low_rank(rows, columns, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, rank, generator=generator) @ torch.randn(rank, columns, generator=generator)


class Words(nn.Module):
    """Word ids ``[b, n]`` → scores of words, by a table that both ends share, an attention and a convolution."""

    def __init__(self, *, is_tied=True):
        super().__init__()
        self.embedding = nn.Embedding(40, 16, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.conv = nn.Conv2d(1, 16, 5, padding=2)
        self.scores = nn.Linear(16, 40)
        if is_tied:
            self.scores.weight = self.embedding.weight

    def forward(self, words):
        hidden = self.layer(self.embedding(words))
        return self.scores(hidden + self.conv(hidden[:, None]).mean(1))


def made(**options):
    torch.manual_seed(0)
    return Words(**options)


def ids():
    return torch.randint(0, 40, (8, 6), generator=torch.Generator().manual_seed(2))


def size(module):
    return sum(each.nbytes for each in module.parameters())


def test_matrices_of_low_rank_lose_nothing():
    module = made().eval()
    with torch.no_grad():
        for each in (module.embedding, module.layer.linear1, module.layer.self_attn.out_proj):
            each.weight.copy_(low_rank(*each.weight.shape, 3))
        module.embedding.weight[0] = 0
        module.conv.weight.copy_(low_rank(16, 25, 2).reshape(16, 1, 5, 5))
        expected = module(ids())
        before = size(module)
        assert factorize(module, energy=1 - 1e-9, modules=["embedding", "layer.*", "conv"]) is module
        torch.testing.assert_close(module(ids()), expected, rtol=1e-3, atol=1e-3)
    ranks = {"embedding": 3, "layer.self_attn.out_proj": 3, "layer.linear1": 3, "conv": 2, "scores": 3}
    assert ranks_of(module) == ranks
    assert size(module) < before
    assert module.scores.left is module.embedding.left
    assert module.scores.right is module.embedding.right
    assert not module.embedding.left[0].any()
    assert [type(each) for each in (module.embedding, module.scores, module.conv)] == [
        FactoredEmbedding,
        FactoredLinear,
        FactoredConv2d,
    ]


def test_factors_are_the_truncated_decomposition():
    linear = nn.Linear(12, 30)
    left, values, right = torch.linalg.svd(linear.weight.detach().double())
    energy = float((values[:4].square().sum() / values.square().sum()) - 1e-6)
    new = factorize(linear, energy=energy)
    assert ranks_of(new) == {"": 4}
    expected = (left[:, :4] * values[:4]) @ right[:4]
    torch.testing.assert_close(new.weight.double(), expected, rtol=0, atol=1e-6)
    inputs = torch.randn(5, 12)
    torch.testing.assert_close(new(inputs), F.linear(inputs, new.weight, linear.bias))


def test_a_target_of_bytes_is_met_and_goes_to_where_least_is_lost():
    for options in ({"target_ratio": 2.0}, {"target_bytes": size(made()) // 2}, {"target_ratio": 2.7}):
        with naming(options):
            module = made()
            target = size(module) / options["target_ratio"] if "target_ratio" in options else options["target_bytes"]
            module = factorize(module, **options)
            assert 0.9 * target < size(module) <= target
    easy, hard = nn.Linear(30, 30, bias=False), nn.Linear(30, 30, bias=False)
    with torch.no_grad():
        easy.weight.copy_(low_rank(30, 30, 2))
    ranks = ranks_of(factorize(nn.Sequential(easy, hard), target_ratio=3))
    assert ranks["0"] <= 2
    assert ranks["1"] > 6


class Calibration:
    """Batches of ids from a few words only, and their loss."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(1)
        return (torch.randint(1, 8, (8, 6), generator=generator) for _ in range(4))

    def loss(self, module, batch):
        return F.cross_entropy(module(batch).flatten(0, 1), batch.flatten())


def test_with_calibration_the_rows_that_matter_keep_more():
    plain, guided = made(is_tied=False), made(is_tied=False)
    original = plain.embedding.weight.detach().clone()
    factorize(plain, target_ratio=2.5)
    factorize(guided, target_ratio=2.5, calibration=Calibration())

    def error(module):
        return (module.embedding.weight - original)[1:8].square().mean().item()

    def loss(module):
        with torch.no_grad():
            return torch.stack([Calibration().loss(module.eval(), batch) for batch in Calibration()]).mean().item()

    exact = loss(made(is_tied=False))
    assert error(guided) < 0.7 * error(plain)
    assert abs(loss(guided) - exact) < abs(loss(plain) - exact)
    assert size(guided) == pytest.approx(size(plain), rel=0.1)


class LitWords(pl.LightningModule):
    """Trains ``Words`` to repeat what it reads."""

    def __init__(self, rate=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.network = made()

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.network(batch[0]).flatten(0, 1), batch[0].flatten())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.rate)

    def train_dataloader(self):
        return DataLoader(TensorDataset(ids().repeat(4, 1)), batch_size=8)

    def on_load_checkpoint(self, checkpoint):
        factorize_to(self, checkpoint["state_dict"])


def test_the_smaller_module_trains_on_and_comes_back(tmp_path):
    def loss(module):
        with torch.no_grad():
            return module.training_step((ids(),), 0).item()

    module = LitWords()
    trainer(tmp_path, max_epochs=6).fit(module)
    before = size(module)
    factorize(module, target_ratio=2.5)
    start = loss(module)
    plan = Plan(Rule("*bias*", Half()), Rule("*", Grid(0.02, trellis=0, rate_weight=0), Half()))
    save = ModelCheckpoint(tmp_path, filename="small", save_last=True)
    callbacks = (QuantizeDuringTraining(plan), Distill("network", share=0.1), CompressCheckpoint(plan), save)
    trainer(tmp_path, *callbacks, max_epochs=6).fit(module)
    assert loss(module) < start
    assert size(module) < 0.4 * before

    read = load_from_checkpoint(LitWords, tmp_path / "small.compressed.safetensors")
    assert ranks_of(read) == ranks_of(module)
    assert read.network.scores.left is read.network.embedding.left
    plain = LitWords.load_from_checkpoint(tmp_path / "small.ckpt")
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], tensor, rtol=0, atol=0.011)
        assert torch.equal(plain.state_dict()[name], tensor)
    file = compress(module, EXACT)
    factored = sum(weight.tensor.nbytes for weight in Weights.from_module(module))
    assert file.nbytes < factored + 4000 < before  # shared factors once


def test_a_resumed_run_of_factors_is_the_same(tmp_path):
    def run(part, epochs, source=None):
        save = ModelCheckpoint(tmp_path / part, filename="{epoch}", save_top_k=-1)
        module = LitWords()
        if source is None:
            factorize(module, target_ratio=2)
        trainer(tmp_path / part, save, max_epochs=epochs).fit(module, ckpt_path=source)
        return module.state_dict()

    whole = run("whole", 3)
    run("parts", 1)
    resumed = run("parts", 3, tmp_path / "parts" / "epoch=0.ckpt")
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor)


def test_bad_input_is_refused_and_the_module_stays(caplog):
    caplog.set_level(logging.INFO)
    module = made()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    for arguments, message in (
        ({}, "nothing is given, expected exactly one of energy, target_bytes, target_ratio"),
        ({"energy": 0.5, "target_ratio": 2}, "energy, target_ratio is given"),
        ({"energy": 1.0}, "above 0 and below 1"),
        ({"energy": "0.5"}, "'0.5'"),
        ({"target_ratio": 1}, "above 1"),
        ({"target_bytes": True}, "target_bytes is True"),
        ({"target_ratio": 1000.0}, "with factors of rank 1 there are .*, of which .* give a larger target"),
        ({"energy": 0.5, "modules": ["encoder.*"]}, "matches encoder.*; those that can are embedding, layer"),
    ):
        with naming(message), pytest.raises(TrainingError, match=message):
            factorize(module, **arguments)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    with torch.no_grad():
        module.layer.linear2.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"module 'layer.linear2': it holds NaN"):
        factorize(module, energy=0.5)
    for refused in (nn.Embedding(9, 9, max_norm=1.0), nn.Conv2d(4, 4, 3, groups=2), nn.LSTM(4, 4)):
        with naming(refused), pytest.raises(TrainingError, match="those that can are none"):
            factorize(refused, energy=0.5)
    with pytest.raises(TrainingError, match="none, and 1 have factors already"):
        factorize(factorize(nn.Sequential(nn.Linear(9, 9)), energy=0.3), energy=0.3)
    with pytest.raises(TrainingError, match="rank is 0"):
        FactoredLinear(4, 4, 0)


def test_separable_convolutions_lose_less_for_their_bytes():
    """Lebedev et al. 2015: a sum of few separable convolutions, found again."""
    pytest.importorskip("tensorly", reason="tensorly is not installed")

    def convolution():
        torch.manual_seed(3)
        module = nn.Conv2d(6, 12, (3, 5), stride=(1, 2), padding=(1, 2))
        parts = [torch.randn(size, 4) for size in module.weight.shape]
        with torch.no_grad():
            module.weight.copy_(torch.einsum("or,ir,hr,wr->oihw", *parts))
        return module

    pictures = torch.randn(2, 6, 8, 10)
    expected = convolution()(pictures)
    results = {}
    for kind in ("pair", "separable"):
        new = factorize(convolution(), target_ratio=5.5, convolutions=kind)
        results[kind] = (new(pictures) - expected).square().mean().item()
        state = new.state_dict()
        again = factorize_to(convolution(), state)
        again.load_state_dict(state)
        assert torch.equal(again(pictures), new(pictures))
        assert size(new) <= size(convolution()) / 5.5
    assert isinstance(new, SeparableConv2d)
    assert results["separable"] < 0.2 * results["pair"]


def test_separable_convolutions_name_the_library_that_they_need(monkeypatch):
    module = nn.Conv2d(6, 12, 3)
    monkeypatch.setitem(sys.modules, "tensorly.decomposition", None)
    with pytest.raises(MissingLibraryError, match=r"needs tensorly: pip install .*\[tensors\]"):
        factorize(nn.Sequential(module), target_ratio=2, convolutions="separable")
    with pytest.raises(TrainingError, match="'pair' or 'separable'"):
        factorize(module, target_ratio=2, convolutions="tucker")
