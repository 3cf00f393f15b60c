"""End to end: fit with the callback, then measure and translate with the compressed file alone; wrong files.

The plan keeps every weight exactly, so checkpoint and compressed file must agree to the last word.
"""

import io
import re
import shutil
import sys

import pytest
import torch
import yaml

from lightning_compress import Archive, CompressionError, Plan, Raw, Rule, compress, expand
from lightning_compress.errors import CallbackError, ClassNotAllowedError, ForeignFileError
from lightning_compress.weights import Weights
from recipes.__main__ import PROGRAMS
from recipes.command import TRAINING, main, run_trainer
from recipes.data.parallel_text import ParallelText
from recipes.errors import TextError, VocabularyError
from recipes.transformer import TransformerTranslation
from recipes.translate import load_translator

EXACT = Plan(Rule("*", Raw()))
SIZES = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 32, "norm": "pre"}


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """Folder with config.yaml, and best.ckpt and best.compressed.safetensors of one short training."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plan.yaml").write_text(yaml.safe_dump(EXACT.to_config()))
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_model_summary": False,
            "default_root_dir": str(folder),
        },
        "checkpoint": {"dirpath": str(folder), "filename": "best", "save_last": "link"},
        "compress": {"plan": str(folder / "plan.yaml"), "on_error": "raise"},
        "model": {
            "class_path": "recipes.transformer.TransformerTranslation",
            "init_args": {**SIZES, "learning_rate": 0.01, "warmup_steps": 20},
        },
        "data": {"folder": str(corpus), "source": "en", "target": "de", "test": "test", "tokens": 400},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_trainer(["fit", "--config", str(folder / "config.yaml")])
    return folder


@pytest.fixture
def lines(corpus):
    return (corpus / "test.en").read_text(encoding="utf-8").splitlines()


def translate(monkeypatch, capsys, text, *arguments):
    """What ``translate`` writes for ``text``, as lines."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    main(["translate", *map(str, arguments)])
    return capsys.readouterr().out.splitlines()


def run(command, trained, *arguments):
    return run_trainer([command, "--config", str(trained / "config.yaml"), *map(str, arguments)])


def test_the_file_alone_translates_as_the_checkpoint_does(trained, tmp_path, lines, monkeypatch, capsys):
    alone = tmp_path / "model.safetensors"
    shutil.copy(trained / "best.compressed.safetensors", alone)
    text = "".join(f"{line}\n" for line in lines)
    from_file = translate(monkeypatch, capsys, text, alone)
    assert len(from_file) == len(lines)
    assert any(from_file)
    assert translate(monkeypatch, capsys, text, trained / "best.ckpt") == from_file
    assert translate(monkeypatch, capsys, text, trained / "last.compressed.safetensors") == from_file
    assert load_translator(alone).translate(lines) == from_file
    expand(alone, tmp_path / "expanded.ckpt")
    assert translate(monkeypatch, capsys, text, tmp_path / "expanded.ckpt") == from_file


def test_batches_and_empty_lines_change_no_translation(trained, lines, monkeypatch, capsys):
    path = trained / "best.compressed.safetensors"
    together = translate(monkeypatch, capsys, "\n".join(lines), path)
    text = "\n\n".join(lines)
    apart = translate(monkeypatch, capsys, text, path, "--batch-size", 3)
    assert apart[::2] == together
    assert set(apart[1::2]) == {""}
    assert translate(monkeypatch, capsys, "", path) == []


def test_a_beam_of_one_is_greedy_search(trained, lines, monkeypatch, capsys):
    module = load_translator(trained / "best.compressed.safetensors")
    greedy = translate(monkeypatch, capsys, "\n".join(lines), trained / "best.compressed.safetensors", "--beam", 1)
    assert greedy == module.translate(lines, beam=1)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_trainer_measures_a_compressed_file_as_its_checkpoint(trained, command):
    compressed, checkpoint = (
        run(command, trained, "--ckpt_path", trained / f"best.{ending}").trainer.callback_metrics
        for ending in ("compressed.safetensors", "ckpt")
    )
    assert set(compressed) == {f"{command[:3] if command == 'validate' else command}_{x}" for x in ("loss", "bleu")}
    assert compressed == checkpoint


def test_the_text_of_training_is_not_needed_to_measure(trained, corpus, tmp_path):
    for language in ("en", "de"):
        shutil.copy(corpus / f"test.{language}", tmp_path)
    path = trained / "best.compressed.safetensors"
    cli = run("test", trained, "--ckpt_path", path, "--data.folder", tmp_path)
    assert cli.trainer.callback_metrics["test_bleu"] >= 0
    assert cli.datamodule.sets.keys() == {"test"}


def test_vocabularies_and_hyper_parameters_are_in_the_file(trained, corpus):
    archive = Archive.open(trained / "best.compressed.safetensors")
    vocabularies = ParallelText(str(corpus), "en", "de").vocabularies
    assert archive.assets() == vocabularies.to_assets()
    assert archive.manifest.checkpoint["recipe"] == {"class_path": "recipes.transformer.TransformerTranslation"}
    assert archive.manifest.checkpoint_left_out == ()
    assert archive.manifest.class_path == "recipes.transformer.TransformerTranslation"
    assert SIZES.items() <= archive.manifest.hyper_parameters.items()
    assert archive.manifest.hyper_parameters["source_words"] == len(vocabularies.source)
    classes = {row.class_name for row in archive.report().rows}
    assert classes == {"source_embedding", "target_embedding", "encoder.0", "decoder.0", "softmax"}


@pytest.mark.filterwarnings("ignore:The dirpath has changed from")
def test_training_goes_on_from_the_checkpoint_and_not_from_the_file(trained, tmp_path):
    arguments = ("--trainer.max_epochs", 2, "--checkpoint.dirpath", tmp_path)
    cli = run("fit", trained, "--ckpt_path", trained / "best.ckpt", *arguments)
    assert cli.trainer.current_epoch == 2
    with pytest.raises(CallbackError, match=r"best\.ckpt"):
        run("fit", trained, "--ckpt_path", trained / "best.compressed.safetensors", *arguments)


def test_a_test_set_without_references_stops_before_training(trained, corpus, tmp_path):
    folder = shutil.copytree(corpus, tmp_path / "text")
    (folder / "test.de").write_text("\n" * 20)
    with pytest.raises(TextError, match=r"test\.de is empty"):
        run("fit", trained, "--data.folder", folder, "--checkpoint.dirpath", tmp_path)
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_file_without_vocabularies_is_one_clear_error(trained, tmp_path):
    path = tmp_path / "bare.safetensors"
    compress(load_translator(trained / "best.ckpt").state_dict(), EXACT).save(path)
    with pytest.raises(SystemExit, match=r"error: .*bare\.safetensors holds no source_vocabulary\.txt"):
        main(["translate", str(path)])


def test_only_classes_of_the_recipes_are_imported(trained, tmp_path):
    module = load_translator(trained / "best.ckpt")
    foreign = type("Foreign", (TransformerTranslation,), {"__module__": "elsewhere"})
    module.__class__ = foreign
    path = tmp_path / "foreign.safetensors"
    compress(module, EXACT).save(path)
    with pytest.raises(ClassNotAllowedError, match=r"elsewhere\.Foreign"):
        load_translator(path)
    network = tmp_path / "network.safetensors"
    weights = Weights.from_module(module)
    module.__class__ = TransformerTranslation
    inner = Weights.from_module(module.network)
    compress(Weights(**{**vars(inner), "assets": weights.assets}), EXACT).save(network)
    with pytest.raises(VocabularyError, match="expected a translation module"):
        load_translator(network)


def test_what_is_no_model_is_refused(tmp_path, corpus):
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.ckpt")
    for path, message in (
        (tmp_path / "weights.ckpt", "holds no state_dict"),
        (corpus / "test.en", "neither a compressed file nor a checkpoint"),
        (tmp_path / "nowhere.safetensors", "neither a compressed file nor a checkpoint"),
    ):
        with pytest.raises(VocabularyError, match=message):
            load_translator(path)


def test_vocabularies_of_another_training_are_refused(trained):
    module = load_translator(trained / "best.ckpt")
    smaller = ParallelText(str(trained), "en", "de", vocabularies=str(trained / "best.ckpt")).vocabularies
    assert module.known_vocabularies() == smaller
    other = TransformerTranslation(10, 10, **SIZES)
    with pytest.raises(VocabularyError, match="the network has 10 and 10"):
        other.use(smaller)
    with pytest.raises(VocabularyError, match="the module has no vocabularies"):
        other.translate(["a"])


@pytest.mark.parametrize("arguments", [["--beam", "0"], ["--batch-size", "-1"], ["--beams", "2"]])
def test_wrong_options_are_refused(trained, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["translate", str(trained / "best.compressed.safetensors"), *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_usage_names_every_command(capsys):
    main([])
    out = capsys.readouterr().out
    commands = (*TRAINING, "finetune", "translate", "sizes", *PROGRAMS)
    assert re.findall(r"^  (\w+) ", out, re.M) == list(commands)


def test_an_unknown_command_is_named_with_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="there is no command 'trian'") as raised:
        main(["trian"])
    assert "python -m recipes COMMAND" in str(raised.value)


def test_a_second_training_sets_the_files_of_the_first_aside(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    first = (folder / "best.ckpt").read_bytes()
    for name in ("notes.txt", "my-report.html", "report.html", "best.report.html"):
        (folder / name).write_text(name)
    for _ in range(2):
        run_trainer(
            ["fit", "--config", str(folder / "config.yaml"), f"--checkpoint.dirpath={folder}", "--data.tokens=200"]
        )
    assert (folder / "earlier-1/best.ckpt").read_bytes() == first
    assert (folder / "earlier-1/best.compressed.safetensors").exists()
    assert (folder / "earlier-2/best.ckpt").read_bytes() not in (first, (folder / "config.yaml").read_bytes())
    assert (folder / "best.compressed.safetensors").exists()
    assert not list(folder.glob("best-v*"))
    for name in ("report.html", "best.report.html"):  # of the first training
        assert (folder / "earlier-1" / name).read_text() == name
        assert not (folder / name).exists()
    assert (folder / "notes.txt").exists()
    assert (folder / "my-report.html").exists()


def test_a_bleu_of_zero_and_exchanged_languages_are_said(trained, caplog):
    arguments = ["--config", str(trained / "config.yaml"), "--ckpt_path", str(trained / "best.ckpt")]
    run_trainer(["test", *arguments, "--data.source=de", "--data.target=en"])
    said = [record.getMessage() for record in caplog.records if record.name.startswith("recipes")]
    assert any("test.de: " in text and text.endswith("are source and target exchanged?") for text in said)
    assert any(text.startswith("test_bleu is 0: no translation") and "(de)" in text for text in said)


def test_errors_have_the_packages_base():
    assert all(issubclass(each, CompressionError) for each in (TextError, VocabularyError, ForeignFileError))
