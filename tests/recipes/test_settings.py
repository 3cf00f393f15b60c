"""Cases: numbers out of range, unknown names, and files that are no model, in Python and on the command line."""

from pathlib import Path

import pytest
import torch
from each_case import naming

from lightning_compress import CompressionError
from recipes.command import check_checkpoint, main, message_of
from recipes.data.assets import TextSettings, Vocabularies
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import Vocabulary
from recipes.demo import __main__ as demo
from recipes.errors import SettingsError, TextError, VocabularyError
from recipes.rnn import RnnTranslation
from recipes.search.beam import beam_search
from recipes.transformer import TransformerTranslation
from recipes.translate import load_translator

DEMO = str(Path(__file__).parents[2] / "recipes" / "configs" / "demo.yaml")
SIZES = {"width": 8, "encoder_layers": 1, "decoder_layers": 1, "heads": 1, "feed_forward": 8}


def test_numbers_of_the_text_out_of_range_are_refused_before_it_is_read():
    for name in ("max_words", "min_count", "max_length", "tokens", "eval_tokens", "pairs"):
        for value in (0, -1):
            with naming((name, value)), pytest.raises(SettingsError, match=f"{name} is {value}: expected 1 or more"):
                ParallelText("nowhere", "en", "de", **{name: value})
    for name in ("workers", "seed"):
        with naming(name), pytest.raises(SettingsError, match=f"{name} is -1: expected 0 or more"):
            ParallelText("nowhere", "en", "de", **{name: -1})
    with pytest.raises(SettingsError, match="lowercase is 'yes': expected true or false"):
        TextSettings(lowercase="yes")


def test_numbers_of_the_model_out_of_range_are_refused():
    cases = {
        "beam": (0, "expected 1 or more"),
        "test_beam": (-4, "expected 1 or more"),
        "learning_rate": (-1.0, "expected 0 or more"),
        "weight_decay": (float("nan"), "expected 0 or more"),
        "length_penalty": (float("inf"), "expected a finite number"),
        "label_smoothing": (1.5, "expected a share"),
        "source_words": (4, "expected 5 or more"),
        "target_words": (0, "expected 5 or more"),
        "width": (0, "expected 1 or more"),
        "dropout": (1.0, "expected a share"),
    }
    for kind, sizes in ((TransformerTranslation, SIZES), (RnnTranslation, {"width": 8})):
        for name, (value, expected) in cases.items():
            settings = {"source_words": 9, "target_words": 9, **sizes, name: value}
            with naming((kind.__name__, name)), pytest.raises(SettingsError, match=f"{name} is {value}: {expected}"):
                kind(**settings)
    with pytest.raises(SettingsError, match=r"second_beta is 1\.0: expected a share"):
        TransformerTranslation(9, 9, **SIZES, betas=(0.9, 1.0))
    for settings in ({"warmup_steps": 0}, {"schedule": "halving", "decay_every": 0}, {"norm": "none"}, {"heads": 3}):
        with naming(settings), pytest.raises(SettingsError):
            TransformerTranslation(9, 9, **{**SIZES, **settings})
    assert issubclass(SettingsError, CompressionError)
    assert issubclass(SettingsError, ValueError)


def test_wrong_arguments_of_translate_are_refused(make_transformer):
    module = TransformerTranslation(5, 5, **SIZES)
    module.use(Vocabularies(Vocabulary(["a"]), Vocabulary(["x"]), TextSettings()))
    for name in ("beam", "batch_size"):
        for value in (0, -1):
            with naming((name, value)), pytest.raises(SettingsError, match=f"{name} is {value}: expected 1 or more"):
                module.translate(["a"], **{name: value})
    with pytest.raises(TextError, match="lines is the text 'a man': expected a list of lines"):
        module.translate("a man")
    with pytest.raises(TextError, match="line 2 is a bytes: expected text"):
        module.translate(["a", b"a"])
    with pytest.raises(SettingsError, match="beam is -2"):
        beam_search(make_transformer(), torch.tensor([[4, 2]]), beam=-2)


def test_a_file_that_is_no_model_is_named_with_the_reason(tmp_path):
    (tmp_path / "empty.ckpt").touch()
    (tmp_path / "text.ckpt").write_text("a man\n")
    torch.save({"state_dict": {}, "recipe": [1]}, tmp_path / "foreign.ckpt")
    cases = {
        "nowhere.ckpt": r"neither a compressed file nor a checkpoint \(there is no such file\): give a",
        ".": r"neither a compressed file nor a checkpoint \(it is a folder\)",
        "empty.ckpt": r"neither a compressed file nor a checkpoint \(it is empty\)",
        "text.ckpt": r"text\.ckpt is neither a compressed file nor a checkpoint: give a",
        "foreign.ckpt": r"foreign\.ckpt holds no source_vocabulary\.txt",
    }
    for name, message in cases.items():
        with naming(name), pytest.raises(VocabularyError, match=message):
            load_translator(tmp_path / name)
        with naming(name), pytest.raises(VocabularyError, match=message):
            ParallelText("nowhere", "en", "de", vocabularies=str(tmp_path / name))


def test_a_checkpoint_that_does_not_fit_its_class_is_one_error(tmp_path):
    module = TransformerTranslation(5, 5, **SIZES)
    module.use(Vocabularies(Vocabulary(["a"]), Vocabulary(["x"]), TextSettings()))
    saved = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(saved)
    cases = {
        "no settings": {k: v for k, v in saved.items() if k != "hyper_parameters"},
        "other settings": {**saved, "hyper_parameters": {"depth": 3}},
        "other weights": {**saved, "state_dict": {}},
    }
    for case, checkpoint in cases.items():
        torch.save(checkpoint, tmp_path / "a.ckpt")
        with naming(case), pytest.raises(VocabularyError, match=r"a\.ckpt does not fit TransformerTranslation"):
            load_translator(tmp_path / "a.ckpt")
    torch.save(saved, tmp_path / "a.ckpt")
    assert load_translator(tmp_path / "a.ckpt").hparams == module.hparams


def test_commands_end_with_one_line(corpus, tmp_path):
    fit = ["fit", "--config", DEMO, "--trainer.logger=false", f"--data.folder={corpus}", "--model.width=15"]
    nowhere = str(tmp_path / "nowhere")
    cases = [
        (fit, "error: width 15 is odd: sinusoidal positions need an even width"),
        (
            ["translate", nowhere],
            f"error: {nowhere} is neither a compressed file nor a checkpoint (there is no such file)",
        ),
    ]
    for arguments, message in cases:
        with naming(arguments), pytest.raises(SystemExit) as stop:
            main(arguments)
        assert str(stop.value.code).startswith(message)
        assert "\n" not in str(stop.value.code)


def test_a_checkpoint_that_is_not_there_is_refused_and_lightnings_names_are_left_to_it(tmp_path):
    with pytest.raises(VocabularyError, match=r"--ckpt_path is .*nowhere, and there is no such file: give a \.ckpt"):
        check_checkpoint(tmp_path / "nowhere")
    for name in (None, "", "best", "last", "registry:name", "s3://bucket/a.ckpt", tmp_path):
        with naming(name):
            check_checkpoint(name)


def test_only_errors_of_ours_and_of_the_file_system_are_one_line():
    wrapped = ValueError("does not validate")
    wrapped.__cause__ = SettingsError("beam is 0")
    cases = [
        (wrapped, "beam is 0"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
        (OSError("disk"), "disk"),
        (ValueError("a defect"), None),
    ]
    for error, message in cases:
        with naming(error):
            assert message_of(error) == message


def test_the_demo_refuses_wrong_arguments(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo.torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(demo.os, "environ", {})
    (tmp_path / "file").touch()
    for arguments, message in ((["--pairs", "0"], "--pairs is 0"), (["--seed", "-1"], "--seed -1")):
        monkeypatch.setattr("sys.argv", ["demo", *arguments])
        with naming(arguments), pytest.raises(SystemExit):
            demo.main()
        assert message in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["demo", "--output", str(tmp_path / "file"), "--pairs", "1"])
    with pytest.raises(SystemExit, match=r"^error: .*file"):
        demo.main()
