"""Cases: a short training by the command line, export, reload, translation by the file alone; optimizers; sizes."""

import io
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning import Trainer

from lightning_compress import Archive, load_from_checkpoint
from recipes.command import main, run_trainer
from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.batching import Batch, PairDataset, pad
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import BOS, EOS, Vocabulary
from recipes.rnn import RnnTranslation
from recipes.sizes import REPORTED, count, sizes
from recipes.translate import load_translator

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
SIZES = {"width": 16, "layers": 3, "dropout": 0.1, "bidirectional": True}


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """Folder with best.ckpt and its companion file of a short training with SGD, and the file of its settings."""
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "gradient_clip_val": 5.0,
            "logger": False,
            "enable_model_summary": False,
            "default_root_dir": str(folder),
        },
        "checkpoint": {"dirpath": str(folder), "filename": "best"},
        "compress": {"plan": "half", "on_error": "raise"},
        "model": {
            "class_path": "recipes.rnn.RnnTranslation",
            "init_args": {
                **SIZES,
                "optimizer": "sgd",
                "learning_rate": 1.0,
                "schedule": "halving",
                "decay_start": 80,
                "decay_every": 5,
                "loss_per": "sentence",
                "label_smoothing": 0.0,
            },
        },
        "data": {
            "folder": str(corpus),
            "source": "en",
            "target": "de",
            "test": "test",
            "pairs": 6,
            "tokens": 1000,
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    cli = run_trainer(["fit", "--config", str(folder / "config.yaml")])
    assert cli.trainer.global_step == 2 * len(cli.trainer.train_dataloader)
    (folder / "loss").write_text(str(float(cli.trainer.callback_metrics["val_loss"])))
    return folder


@pytest.fixture
def make_module():
    """Builds small modules in training mode."""

    def make(source_words=11, target_words=9, **settings):
        torch.manual_seed(0)
        return RnnTranslation(source_words, target_words, **{"width": 8, "dropout": 0.0, **settings})

    return make


@pytest.fixture
def batch():
    targets = [[4, 5, EOS], [6, 7, 8, 4, 5, EOS]]
    return Batch(pad([[5, 6, EOS], [7, EOS]]), pad([[BOS, *row[:-1]] for row in targets]), pad(targets))


def test_the_training_lowers_the_loss(trained):
    untrained = run_trainer(["validate", "--config", str(trained / "config.yaml")])
    assert float((trained / "loss").read_text()) < float(untrained.trainer.callback_metrics["val_loss"]) - 1.0


@pytest.mark.parametrize("form", [{}, {"layers": 4}, {"bidirectional": True}])
def test_pairs_are_memorized(make_module, form):
    lines, translations = ["a b c", "b a", "c c a b"], ["x y", "y y z x", "z"]
    module = make_module(source_words=7, target_words=7, width=24, **form)
    module.use(Vocabularies(Vocabulary(list("abc")), Vocabulary(list("xyz")), TextSettings()))
    words = module.known_vocabularies()
    sources = [words.source.encode(line.split()) for line in lines]
    targets = [words.target.encode(line.split()) for line in translations]
    batch = PairDataset(sources, targets)[[0, 1, 2]]
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()
    assert module.loss(batch) < 0.1
    assert module.translate(lines, beam=1) == translations
    assert module.translate([*lines[::-1], "  "], beam=3, batch_size=2) == [*translations[::-1], ""]


def test_the_file_alone_translates(trained, corpus, tmp_path, monkeypatch, capsys):
    alone = tmp_path / "model.safetensors"
    shutil.copy(trained / "best.compressed.safetensors", alone)
    text = (corpus / "test.en").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    main(["translate", str(alone)])
    from_file = capsys.readouterr().out.splitlines()
    assert len(from_file) == len(text.splitlines())
    assert any(from_file)
    module = load_translator(trained / "best.ckpt")
    restored = load_translator(alone).network.state_dict()
    for name, weight in module.network.state_dict().items():
        upper_half = weight.contiguous().view(torch.int32).bitwise_and(-(2**16)).view(torch.float32)
        expected = upper_half if weight.ndim else weight  # a single number is kept exactly
        torch.testing.assert_close(restored[name], expected, rtol=0, atol=0)
    module.network.load_state_dict(restored)
    assert module.translate(text.splitlines()) == from_file


def test_the_file_rebuilds_the_module(trained):
    archive = Archive.open(trained / "best.compressed.safetensors")
    assert archive.manifest.class_path == "recipes.rnn.RnnTranslation"
    module = load_from_checkpoint(RnnTranslation, trained / "best.compressed.safetensors")
    assert SIZES.items() <= module.hparams.items()
    assert module.optimizer == "sgd"
    stacks = {f"{stack}.{k}" for stack in ("encoder", "decoder") for k in range(3)}
    classes = {row.class_name for row in archive.report().rows}
    assert classes == stacks | {"source_embedding", "target_embedding", "softmax"}


def test_the_trainer_measures_the_file(trained):
    path = str(trained / "best.compressed.safetensors")
    cli = run_trainer(["test", "--config", str(trained / "config.yaml"), "--ckpt_path", path])
    assert set(cli.trainer.callback_metrics) == {"test_loss", "test_bleu"}


@pytest.mark.parametrize(
    ("settings", "kind", "rates"),
    [
        ({}, torch.optim.AdamW, [0.25, 0.5, 0.75, 1.0]),
        ({"schedule": "halving"}, torch.optim.AdamW, [1.0, 1.0, 0.5, 0.5]),
        ({"optimizer": "sgd", "schedule": "halving"}, torch.optim.SGD, [1.0, 1.0, 0.5, 0.5]),
        ({"optimizer": "sgd"}, torch.optim.SGD, [0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_settings_choose_optimizer_and_schedule(make_module, settings, kind, rates):
    module = make_module(learning_rate=1.0, warmup_steps=4, decay_start=0, decay_every=2, **settings)
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert type(optimizer) is kind
    found = []
    for _ in rates:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == rates


def test_a_loss_per_sentence_is_the_sum_over_its_words(make_module, batch):
    word, sentence = (make_module(loss_per=unit, label_smoothing=0.0) for unit in ("word", "sentence"))
    for module in (word, sentence):
        module.log = lambda *_, **__: None
    scores = sentence.network(batch.source, batch.previous).log_softmax(dim=-1)
    sums = [-scores[row, range(n), batch.target[row, :n]].sum() for row, n in ((0, 3), (1, 6))]
    torch.testing.assert_close(sentence.training_step(batch, 0), sum(sums) / 2)
    torch.testing.assert_close(word.training_step(batch, 0), sum(sums) / 9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adagrad"}, "optimizer is 'adagrad': expected 'adam' or 'sgd'"),
        ({"schedule": "cosine"}, "schedule is 'cosine': expected 'inverse-square-root' or 'halving'"),
        ({"loss_per": "batch"}, "loss_per is 'batch': expected 'word' or 'sentence'"),
    ],
)
def test_unknown_settings_are_named(make_module, settings, message):
    with pytest.raises(ValueError, match=message):
        make_module(**settings)


def test_a_limit_on_pairs_holds_in_training_alone(corpus):
    data = ParallelText(str(corpus), "en", "de", pairs=7, tokens=10_000)
    data.setup("fit")
    assert {len(batch.source) for batch in data.train_dataloader()} == {300 % 7, 7}
    assert len(data.val_dataloader()) == 1


def test_a_limit_below_one_pair_is_refused(corpus):
    with pytest.raises(ValueError, match="pairs is 0: expected 1 or more"):
        ParallelText(str(corpus), "en", "de", pairs=0)


def test_a_file_of_another_network_is_one_clear_error(trained):
    path = str(trained / "best.compressed.safetensors")
    arguments = ["test", "--config", str(trained / "config.yaml"), "--ckpt_path", path]
    with pytest.raises(SystemExit, match=r"error: .*does not fit the module(.|\n)*encoder\.layers\.3"):
        main([*arguments, "--model.layers", "4"])


def test_paper_sizes_are_counted_beside_the_papers(capsys):
    main(["sizes"])
    out = capsys.readouterr().out
    assert all(size.config in out and f"{size.weights / 1e6:.1f} M" in out for size in sizes())
    assert [size.config for size in sizes()] == [name for name, *_ in REPORTED]
    assert [size.megabytes for size in sizes()] == [362, 537, 648, 1048]
    transformer, two, four, eight = (size.our_megabytes / size.megabytes for size in sizes())
    assert transformer == pytest.approx(1, abs=0.01)
    assert two == pytest.approx(1, abs=0.02)
    assert four == pytest.approx(1.074, abs=0.001)
    assert eight == pytest.approx(0.985, abs=0.001)


def test_the_count_of_two_layers_is_the_sum_of_its_parts():
    words, d = 30_004, 1024
    tables = 3 * words * d
    lstm = 4 * d * (2 * d) + 8 * d
    fed_by_attention = 4 * d * (3 * d) + 8 * d
    attention = 2 * d * d + d + d + 1
    assert count("rnn-2-paper") == tables + 3 * lstm + fed_by_attention + attention
    assert count("rnn-4-paper") - count("rnn-2-paper") == 2 * (lstm + fed_by_attention)


@pytest.mark.parametrize("layers", [2, 4, 8])
def test_the_papers_settings_stand_in_its_configurations(layers):
    text = (CONFIGS / f"rnn-{layers}-paper.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    model, data = config["model"]["init_args"], config["data"]
    assert {"width": 1024, "layers": layers, "dropout": 0.2, "bidirectional": False}.items() <= model.items()
    assert (model["optimizer"], model["learning_rate"], model["schedule"]) == ("sgd", 1.0, "halving")
    assert (data["pairs"], data["max_length"], data["max_words"]) == (128, 50, 30_000)
    assert data["pairs"] * (data["max_length"] + 1) == data["tokens"]
    assert config["trainer"]["max_steps"] == 150_000
    assert config["compress"]["plan"] == "paper-rnn"


@pytest.mark.parametrize("name", ["rnn-2-paper", "rnn-4-paper", "rnn-8-paper", "rnn-multi30k", "rnn-demo"])
def test_configurations_train(name, corpus, tmp_path):
    """Each file as it is, on few words and narrow layers, for two steps."""
    small = {
        "trainer.max_steps": 2,
        "trainer.max_epochs": -1,
        "trainer.val_check_interval": 2,
        "trainer.accelerator": "cpu",
        "trainer.limit_val_batches": 1,
        "trainer.logger": "false",
        "trainer.enable_model_summary": "false",
        "trainer.default_root_dir": tmp_path,
        "checkpoint.dirpath": tmp_path,
        "data.folder": corpus,
        "data.source": "en",
        "data.target": "de",
        "data.test": "test",
        "data.pairs": 8,
        "data.workers": 0,
        "model.init_args.width": 8,
    }
    config = CONFIGS / f"{name}.yaml"
    cli = run_trainer(["fit", "--config", str(config), *(f"--{key}={value}" for key, value in small.items())])
    assert cli.trainer.global_step == 2
    assert (tmp_path / "best.compressed.safetensors").is_file()
