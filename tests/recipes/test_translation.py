"""Cases: the loss, learning a few pairs by heart, the optimizer, what travels, and the configuration files."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from recipes.command import main
from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.batching import PairDataset
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import PAD, Vocabulary
from recipes.transformer import TransformerTranslation

MULTI30K = Path(__file__).parents[3] / "shared" / "data" / "multi30k"
CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
SIZES = {"width": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 64, "dropout": 0.0}
SOURCE = ["a b c", "b a", "c c a b"]
TARGET = ["x y", "y y z x", "z"]


@pytest.fixture
def module():
    torch.manual_seed(0)
    made = TransformerTranslation(7, 7, norm="pre", **SIZES)
    made.use(Vocabularies(Vocabulary(list("abc")), Vocabulary(list("xyz")), TextSettings()))
    return made


@pytest.fixture
def batch(module):
    words = module.known_vocabularies()
    sources = [words.source.encode(line.split()) for line in SOURCE]
    targets = [words.target.encode(line.split()) for line in TARGET]
    return PairDataset(sources, targets, TARGET)[[0, 1, 2]]


def test_the_loss_is_the_mean_over_words_without_padding(module, batch):
    logs = module.network(batch.source, batch.previous).log_softmax(dim=-1)
    picked = [
        logs[row, place, word]
        for (row, place), word in zip(
            (batch.target != PAD).nonzero().tolist(), batch.target[batch.target != PAD].tolist(), strict=True
        )
    ]
    assert len(picked) == batch.tokens == 10
    torch.testing.assert_close(module.loss(batch), -torch.stack(picked).mean())
    assert module.loss(batch, label_smoothing=0.1) != module.loss(batch)


def test_pairs_are_memorized(module, batch):
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()
    assert module.loss(batch) < 0.05
    assert module.translate(SOURCE, beam=1) == TARGET
    assert module.translate([*SOURCE[::-1], "  "], beam=3, batch_size=2) == [*TARGET[::-1], ""]


@pytest.mark.parametrize(("clip", "fused"), [(None, True), (0.0, True), (1.0, False)])
def test_the_fused_update_is_used_where_gradients_are_not_clipped(module, clip, fused):
    module.trainer = pl.Trainer(
        gradient_clip_val=clip, accelerator="cpu", logger=False, enable_checkpointing=False, barebones=clip is None
    )
    configured = module.configure_optimizers()
    assert configured["optimizer"].defaults["fused"] is fused
    schedule = configured["lr_scheduler"]["scheduler"]
    assert schedule.get_last_lr() == pytest.approx([1e-3 / 4000])


def test_a_checkpoint_carries_class_and_vocabularies(module):
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["recipe"]["class_path"] == "recipes.transformer.TransformerTranslation"
    earlier = {"recipe": {**checkpoint["recipe"], "assets": checkpoint["assets"]}}
    for content in (checkpoint, earlier):
        other = TransformerTranslation(7, 7, **SIZES)
        assert other.compression_assets() == {}
        other.on_load_checkpoint({})
        assert other.compression_assets() == {}
        other.on_load_checkpoint(content)
        assert other.compression_assets() == module.compression_assets()


def test_hyper_parameters_rebuild_the_module(module):
    again = TransformerTranslation(**module.hparams)
    assert again.hparams == module.hparams
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize("name", ["transformer-paper", "transformer-multi30k", "demo"])
def test_configuration_files_are_understood(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIGS / f"{name}.yaml"), "--print_config"])
    assert stop.value.code in (0, None)
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["compress"]["plan"] == ("auto" if name == "demo" else "paper-transformer")
    assert config["checkpoint"]["monitor"] == "val_bleu"
    if name == "transformer-paper":
        sizes = config["model"]["init_args"]
        paper = {"width": 512, "encoder_layers": 6, "decoder_layers": 6, "heads": 8, "feed_forward": 2048}
        assert {**paper, "dropout": 0.1, "norm": "post"}.items() <= sizes.items()
        assert (config["data"]["tokens"], config["data"]["max_length"], config["data"]["max_words"]) == (
            4096,
            50,
            30000,
        )


@pytest.mark.skipif(not MULTI30K.is_dir(), reason=f"the Multi30k text is not at {MULTI30K}")
def test_multi30k_is_read_whole():
    config = yaml.safe_load((CONFIGS / "transformer-multi30k.yaml").read_text())["data"]
    data = ParallelText(**{**config, "folder": str(MULTI30K)})
    data.setup("fit")
    assert {name: len(pairs) for name, pairs in data.sets.items()} == {"train": 29000, "valid": 1014, "test": 1000}
    assert (data.source_words, data.target_words) == (5921, 7859)
