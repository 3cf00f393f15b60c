"""From a checkpoint to a retrained file of the bytes that were asked for, which translates alone."""

from pathlib import Path

import pytest
import torch
import yaml
from each_case import naming
from pytorch_lightning import Trainer

from lightning_compress import compress
from lightning_compress.archive import Archive
from lightning_compress.errors import TrainingError
from lightning_compress.training import ranks_of, starting_plan
from lightning_compress.weights import Weights
from recipes.command import main, run_trainer
from recipes.errors import SettingsError
from recipes.finetune import Settings, TrainingText, finetuning
from recipes.training.schedule import Cosine
from recipes.translate import load_translator

SIZES = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 32, "norm": "pre"}


@pytest.fixture(scope="module")
def checkpoint(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_model_summary": False},
        "checkpoint": {"dirpath": str(folder), "filename": "best"},
        "compress": {"plan": "half"},
        "model": {
            "class_path": "recipes.transformer.TransformerTranslation",
            "init_args": {**SIZES, "learning_rate": 0.01, "warmup_steps": 20},
        },
        "data": {"folder": str(corpus), "source": "en", "target": "de", "tokens": 400},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_trainer(["fit", "--config", str(folder / "config.yaml")])
    return folder / "best.ckpt"


def test_one_command_makes_a_small_file_that_translates(checkpoint, corpus, tmp_path, capsys):
    main(
        f"finetune --checkpoint {checkpoint} --folder {corpus} --source en --target de --target-ratio 4 --epochs 2 "
        f"--tokens 800 --output {tmp_path}".split()
    )
    out = capsys.readouterr().out
    assert "exact" in out
    assert "BLEU" in out
    archive = Archive.open(tmp_path / "finetuned.compressed.safetensors")
    methods = [method for rule in archive.manifest.plan["rules"] for method in rule["methods"]]
    assert any("grid" in method for method in methods)
    assert load_translator(tmp_path / "finetuned.compressed.safetensors").translate(["a dog"])


def test_the_plan_to_start_from_has_some_more_bytes_than_the_target(checkpoint):
    weights = Weights.from_checkpoint(checkpoint)
    size = compress(weights, "half").nbytes // 3
    assert starting_plan(weights, size, headroom=1.2).compress(weights).nbytes == pytest.approx(1.2 * size, rel=0.1)
    with pytest.raises(TrainingError, match="give a larger target"):
        starting_plan(weights, 100)


def test_settings_are_checked():
    for wrong in (
        {"ratio": 0.5},
        {"ratio": 2, "epochs": 0},
        {"ratio": 2, "learning_rate": -1},
        {"ratio": 2, "rank_epochs": -1},
        {"ratio": 2, "rank_epochs": 0.5},
    ):
        with pytest.raises(SettingsError):
            Settings(**wrong)
    with pytest.raises(SettingsError):
        Cosine(0)
    cosine = Cosine(100, warmup=10)
    assert [cosine(0), cosine(50), cosine(100)] == pytest.approx([0.1, 0.51, 0.02], abs=0.01)


def test_the_callbacks_are_configured_by_yaml(capsys):
    folder = Path(__file__).parents[2] / "recipes" / "configs"
    for name, callback, plan in (
        ("quantize", "QuantizeDuringTraining", "trained"),
        ("quantize-activations", "QuantizeActivations", "trained"),
        ("prune", "PruneDuringTraining", "half"),
    ):
        configs = [f"--config={folder / part}.yaml" for part in ("rnn-multi30k", name)]
        with naming(name), pytest.raises(SystemExit) as stopped:
            run_trainer(["fit", *configs, "--print_config"])
        assert stopped.value.code == 0
        config = yaml.safe_load(capsys.readouterr().out)
        paths = [part["class_path"] for part in config["trainer"]["callbacks"]]
        assert f"lightning_compress.{callback}" in paths
        assert config["compress"]["plan"] == plan


def test_factors_of_low_rank_are_trained_on_and_read_back(checkpoint, corpus, tmp_path, capsys):
    main(
        f"finetune --checkpoint {checkpoint} --folder {corpus} --source en --target de --target-ratio 5 --epochs 1 "
        f"--rank-ratio 1.5 --tokens 800 --output {tmp_path}".split()
    )
    assert "exact" in capsys.readouterr().out
    plain, small = (load_translator(tmp_path / f"finetuned.{ending}") for ending in ("ckpt", "compressed.safetensors"))
    ranks = ranks_of(small)
    assert ranks
    assert ranks == ranks_of(plain)
    before = sum(each.numel() for each in load_translator(checkpoint).parameters())
    assert sum(each.numel() for each in small.parameters()) <= before / 1.5
    assert small.translate(["a dog"])
    for ratio in (0.9, 5):
        with naming(ratio), pytest.raises(SettingsError, match="less than the target ratio"):
            Settings(5, rank_ratio=ratio)


def test_factors_are_trained_before_they_are_quantized(checkpoint, corpus, tmp_path, monkeypatch, capsys):
    first_losses = []

    class Recorded(Trainer):
        def fit(self, module, data):
            text = TrainingText.of(data, batches=4)
            with torch.no_grad():
                first_losses.append(sum(float(text.loss(module.eval(), batch)) for batch in text))
            super().fit(module.train(), data)

    monkeypatch.setattr(finetuning, "Trainer", Recorded)
    command = f"finetune --checkpoint {checkpoint} --folder {corpus} --source en --target de --target-ratio 6 "
    command += f"--rank-ratio 3 --epochs 1 --rank-epochs 6 --learning-rate 0.01 --tokens 400 --output {tmp_path}"
    main(command.split())
    factors, trained_factors = first_losses
    assert trained_factors < 0.9 * factors
    with pytest.raises(SystemExit):
        main(command.replace("--rank-ratio 3", "").split())
    assert "give --rank-ratio too" in capsys.readouterr().err
