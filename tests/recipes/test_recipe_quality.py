"""A recipe measures its translations: the numbers are those of its own validation, and of the compressed file alone."""

from __future__ import annotations

import json

import pytest
import yaml

from lightning_compress import bleu_score
from recipes.command import run_trainer
from recipes.data.parallel_text import ParallelText
from recipes.errors import TextError
from recipes.transformer import TransformerTranslation
from recipes.translate import load_translator

SIZES = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 32, "norm": "pre"}


@pytest.fixture
def measured(corpus, tmp_path):
    """The module, its data, and the folder of a run configured by a file alone."""
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_model_summary": False,
            "default_root_dir": str(tmp_path),
            "callbacks": [{"class_path": "lightning_compress.TranslationQuality", "init_args": {"beam": 1}}],
        },
        "checkpoint": {"dirpath": str(tmp_path), "filename": "best"},
        "compress": {"plan": "paper-transformer", "artifacts": {"keep": 2}, "pictures": False},
        "model": {
            "class_path": "recipes.transformer.TransformerTranslation",
            "init_args": {**SIZES, "learning_rate": 0.01, "warmup_steps": 20},
        },
        "data": {"folder": str(corpus), "source": "en", "target": "de", "tokens": 400},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run = run_trainer(["fit", "--config", str(tmp_path / "config.yaml")])
    return run.model, run.datamodule, tmp_path


def test_the_numbers_are_those_of_the_validation_and_of_the_file(measured):
    module, data, folder = measured
    record = json.loads((folder / "translations.json").read_text(encoding="utf-8"))
    assert "tok:none" in record["signature"]
    assert len(record["samples"]) == 20
    sources, references = data.text("valid")
    assert {sample["source"]: sample["reference"] for sample in record["samples"]} == dict(
        zip(sources, references, strict=True)
    )
    exact = bleu_score(module.translate(sources, beam=1), references, tokenize="none").value
    assert record["bleu_exact"] == pytest.approx(exact)
    assert record["bleu_exact"] == pytest.approx(float(module.trainer.callback_metrics["val_bleu"]), abs=1e-3)
    file = load_translator(folder / "best.compressed.safetensors").translate(sources, beam=1)
    assert record["bleu_compressed"] == pytest.approx(bleu_score(file, references, tokenize="none").value)


def test_text_for_bleu_is_cut_as_the_references_are(corpus):
    data = ParallelText(str(corpus), "en", "de", lowercase=True, target_segmentation="characters")
    sources, references = data.text("valid")
    data.setup("validate")
    assert references == list(data.sets["valid"].references)
    assert sources == (corpus / "valid.en").read_text(encoding="utf-8").splitlines()


def test_without_our_data_module_the_text_is_asked_for():
    module = TransformerTranslation(7, 7, **SIZES)
    module.trainer = type("Trainer", (), {"datamodule": None})()
    with pytest.raises(TextError, match="ParallelText"):
        module.validation_text()
