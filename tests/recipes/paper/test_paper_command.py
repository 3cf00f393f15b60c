"""The command line: what is wrong is one line on the error stream and status 1."""

import shutil

import pytest
import torch

from recipes.paper.command import main
from recipes.paper.experiments import EXPERIMENTS
from recipes.translate import load_translator


@pytest.fixture
def command(checkpoint, text, tmp_path):
    """Runs ``python -m recipes.paper`` with options over the usual ones; gives the exit status."""

    def run(name, **options):
        given = {"checkpoint": checkpoint, "data": text, "out": tmp_path / "out", "beam": 1, **options}
        flags = [f"--{option.replace('_', '-')}={value}" for option, value in given.items()]
        with pytest.raises(SystemExit) as stop:
            main([name, *flags])
        return stop.value.code

    return run


def test_an_experiment_prints_its_file_and_asks_for_it_to_be_published(command, tmp_path, capsys, monkeypatch):
    published = []
    monkeypatch.setattr("recipes.paper.execution.runner.publish", lambda *arguments: published.append(arguments))
    out = tmp_path / "out"
    assert command("fig6", bits="2", limit=5, coverage=0.9, wandb="project") == 0
    assert capsys.readouterr().out.split() == [str(out / "fig6.csv")]
    assert published == [(out, "fig6", "project")]
    assert (out / "fig6.csv").read_text("utf-8").splitlines()[1].startswith("2,left,0.9,")
    assert command("fig6", bits="2", limit=5, coverage=0.9) == 0
    assert published[1] == (out, "fig6", None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fig9", {}, "no experiment is called 'fig9' (did you mean 'fig8'?); there are table1, fig5"),
        (
            "fig5",
            {"classes": "softmax,attention"},
            "the model has no class 'attention': its classes are source_embedding",
        ),
        ("fig6", {"bits": "4,x"}, "--bits is '4,x': expected values with commas between them"),
        ("fig6", {"bits": "0"}, "--bits has 0: expected from 1 to 16"),
        ("fig6", {"bits": "4,4"}, "--bits has [4, 4]: expected one value or more, none twice"),
        ("table1", {"shares": ""}, "--shares has []: expected one value or more"),
        ("table1", {"shares": "0,15"}, "--shares has 15.0: expected fractions from 0 to below 1, 0.15 for 15 %"),
        ("table2", {"prune": "1"}, "--prune has 1.0: expected fractions"),
        ("table2", {"scheme": "blind"}, "--scheme is 'blind': expected class-blind or class-uniform"),
        ("table2", {"index_bits": "17"}, "--index-bits has 17: expected from 1 to 16"),
        ("table2", {"coverage": "98"}, "--coverage has 98.0: expected from 0 to 1"),
        ("fig7", {"tolerance": "-1"}, "--tolerance has -1.0: expected 0 or more"),
        ("fig7", {"beam": "0"}, "--beam has 0: expected 1 or more"),
        ("fig7", {"limit": "0"}, "--limit has 0: expected 1 or more"),
        ("fig7", {"split": "nope"}, "nope.en cannot be read (No such file or directory)"),
        ("fig7", {"target": "fr"}, "valid.fr cannot be read (No such file or directory)"),
        ("fig7", {"checkpoint": "nowhere.ckpt"}, "nowhere.ckpt is neither a compressed file nor a checkpoint"),
    ],
)
def test_wrong_options_are_one_line(command, name, options, message, tmp_path):
    error = command(name, **options)
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.glob("out/*.csv"))


@pytest.mark.parametrize("references", ["", "\n" * 30, "ein satz .\n" * 29 + "\n", "ein satz .\n" * 29])
def test_missing_references_are_refused_before_anything_is_measured(command, references, text, tmp_path):
    folder = shutil.copytree(text, tmp_path / "text")
    (folder / "valid.de").write_text(references, "utf-8")
    error = command("table1", data=folder)
    assert "valid.de" in error
    assert not list((tmp_path / "out").rglob("*.json"))


def test_another_models_checkpoint_is_refused(command, checkpoint, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(3)}, "hyper_parameters": {}}, path)
    assert "other.ckpt holds no source_vocabulary.txt" in command("table2", checkpoint=path)
    assert "is compressed already: give the .ckpt" in command(
        "table2", checkpoint=checkpoint.with_suffix(".compressed.safetensors")
    )


def test_vocabularies_of_another_size_are_refused(command, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    assets = content["assets"]
    assets["source_vocabulary.txt"] += b"oneword\n"
    words = len(load_translator(checkpoint).vocabularies.source)
    torch.save(content, tmp_path / "larger.ckpt")
    error = command("table2", checkpoint=tmp_path / "larger.ckpt")
    assert f"the vocabularies have {words + 1} source" in error
    assert f"the network has {words} and" in error


def test_results_of_another_text_are_not_mixed(command, tmp_path):
    choices = {"bits": "2", "coverage": 0.9}
    assert command("fig6", limit=5, **choices) == 0
    before = (tmp_path / "out" / "fig6.csv").read_bytes()
    error = command("fig6", limit=6, **choices)
    assert "holds results with sentences 5, and this run has 6: give another --out" in error
    assert (tmp_path / "out" / "fig6.csv").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_line(command, text):
    error = command("fig6", out=text / "valid.en")
    assert error.startswith("error: ")
    assert str(text / "valid.en") in error


def test_help_names_every_experiment(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in EXPERIMENTS)
