"""A trained model teaches a smaller one, and one of another kind; its translations are a training text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from each_case import naming

from lightning_compress.archive import Archive
from recipes.command import main, run_trainer
from recipes.data.text_files import read_lines
from recipes.distillation import TeacherText, trained_network
from recipes.errors import SettingsError, TextError, VocabularyError
from recipes.rnn import RnnTranslation
from recipes.translate import load_translator

SIZES = {"width": 16, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "feed_forward": 32, "norm": "pre"}


def fit(folder, corpus, class_path, sizes, *, callbacks=(), **data):
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 6,
            "logger": False,
            "enable_model_summary": False,
            "callbacks": list(callbacks),
        },
        "checkpoint": {"dirpath": str(folder), "filename": "best"},
        "compress": {"plan": "half"},
        "model": {"class_path": class_path, "init_args": {**sizes, "learning_rate": 0.01, "warmup_steps": 4}},
        "data": {"folder": str(corpus), "source": "en", "target": "de", "tokens": 400, **data},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return run_trainer(["fit", "--config", str(path)])


@pytest.fixture(scope="module")
def teacher(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    fit(folder, corpus, "recipes.transformer.TransformerTranslation", SIZES)
    return folder / "best.ckpt"


def distill(teacher, **options):
    named = {"class_path": "recipes.distillation.trained_network", "init_args": {"path": str(teacher)}}
    return {
        "class_path": "lightning_compress.Distill",
        "init_args": {"module": "network", "teacher": named, "share": 1.0, **options},
    }


def test_an_rnn_learns_from_a_transformer_by_a_configuration(teacher, corpus, tmp_path):
    callback = distill(teacher)
    sizes = {"width": 8, "layers": 2}
    run = fit(tmp_path, corpus, "recipes.rnn.RnnTranslation", sizes, callbacks=[callback], vocabularies=str(teacher))
    assert isinstance(run.model, RnnTranslation)
    reference = trained_network(str(teacher))
    batch = next(iter(run.datamodule.val_dataloader()))
    before = RnnTranslation(run.datamodule.source_words, run.datamodule.target_words, **sizes)

    def divergence(network):
        with torch.no_grad():
            first, second = (each.eval()(batch.source, batch.previous).log_softmax(-1) for each in (network, reference))
        return torch.nn.functional.kl_div(first, second, log_target=True, reduction="sum").item()

    assert divergence(run.model.network) < 0.9 * divergence(before.network)


def test_a_narrower_transformer_learns_states_and_maps(teacher, corpus, tmp_path):
    maps = {f"encoder.layers.0.{name}.softmax": f"encoder.layers.1.{name}.softmax" for name in ("attention",)}
    callback = distill(teacher, hidden="every", attention=maps)
    sizes = SIZES | {"width": 8, "encoder_layers": 1, "decoder_layers": 1, "embedding_width": 4}
    class_path = "recipes.transformer.TransformerTranslation"
    fit(tmp_path, corpus, class_path, sizes, callbacks=[callback], vocabularies=str(teacher))
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)["callbacks"]["Distill"]["projections"]
    shapes = {name: tuple(each.shape) for name, each in state["matrices"].items()}
    assert shapes == {"encoder.layers.0": (16, 8), "decoder.layers.0": (16, 8)}
    assert load_translator(tmp_path / "best.compressed.safetensors").translate(["a dog"])


def test_the_translations_of_a_teacher_become_a_training_text(teacher, corpus, tmp_path, capsys):
    output = tmp_path / "taught"
    main(
        f"teacher-text --checkpoint {teacher} --folder {corpus} --source en --target de --beam 2 "
        f"--output {output}".split()
    )
    assert "translations as train.de" in capsys.readouterr().out
    sources = read_lines(corpus / "train.en")
    assert read_lines(output / "train.en") == sources
    translations = (output / "train.de").read_text().split("\n")[:-1]
    assert translations[:20] == load_translator(teacher).translate(sources, beam=2)[:20]
    assert translations != read_lines(corpus / "train.de")
    for name in ("valid.en", "valid.de", "test.en", "test.de"):
        assert (output / name).read_bytes() == (corpus / name).read_bytes()
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in corpus.iterdir())
    with pytest.raises(SystemExit, match="exists already: choose another folder"):
        main(f"teacher-text --checkpoint {teacher} --folder {corpus} --source en --target de --output {output}".split())


def test_bad_input_is_refused_before_anything_is_written(teacher, corpus, tmp_path):
    for options, error, message in (
        ({"beam": 0}, SettingsError, "beam is 0"),
        ({"batch_size": 0}, SettingsError, "batch_size is 0"),
        ({"output": corpus}, TextError, "exists already"),
    ):
        with naming(options), pytest.raises(error, match=message):
            TeacherText(**{"folder": corpus, "source": "en", "target": "de", "output": tmp_path, **options})
    with pytest.raises(VocabularyError, match="neither a compressed file nor a checkpoint"):
        trained_network(str(corpus / "train.en"))
    with pytest.raises(SystemExit, match=r"train.fr cannot be read"):
        main(
            f"teacher-text --checkpoint {teacher} --folder {corpus} --source en --target fr --output {tmp_path}".split()
        )
    assert not list(tmp_path.iterdir())


def test_shared_layers_are_trained_and_stored_once(corpus, tmp_path):
    sizes = SIZES | {"share_layers": True, "embedding_width": 8}
    run = fit(tmp_path, corpus, "recipes.transformer.TransformerTranslation", sizes)
    archive = Archive.open(tmp_path / "best.compressed.safetensors")
    aliases = [name for name in archive.manifest.ties if name.startswith("network.encoder.layers.1.")]
    assert len(aliases) == len(run.model.network.encoder.layers[1].state_dict())
    small = load_translator(tmp_path / "best.compressed.safetensors")
    assert small.network.encoder.layers[0] is small.network.encoder.layers[1]
    assert small.translate(["a dog"]) == load_translator(tmp_path / "best.compressed.safetensors").translate(["a dog"])


def test_the_configuration_of_a_student_is_understood(capsys):
    folder = Path(__file__).parents[2] / "recipes" / "configs"
    configs = [f"--config={folder / name}.yaml" for name in ("transformer-multi30k", "distill")]
    with pytest.raises(SystemExit) as stopped:
        run_trainer(["fit", *configs, "--print_config"])
    assert stopped.value.code in (0, None)
    config = yaml.safe_load(capsys.readouterr().out)
    (callback,) = config["trainer"]["callbacks"]
    assert callback["class_path"] == "lightning_compress.Distill"
    assert callback["init_args"]["teacher"]["class_path"] == "recipes.distillation.trained_network"
    assert config["data"]["vocabularies"] == callback["init_args"]["teacher"]["init_args"]["path"]
    assert config["model"]["init_args"]["width"] < 256
