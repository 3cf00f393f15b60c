"""``report`` on the command line, and the progress that every verb with long work shows."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console

from lightning_compress import Archive, compress
from lightning_compress.cli import output as cli_output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a run in it: a sound file and a damaged one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": {"encoder.0.weight": torch.randn(20, 10)}}, "run/m.ckpt")
    compress("run/m.ckpt", "paper-transformer").save("run/m.safetensors")
    data = bytearray((tmp_path / "run/m.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "run/n [old].safetensors").write_bytes(data)
    return tmp_path


def test_report_of_a_run_names_what_it_left_out(folder, run):
    status, out, err = run("report", "run", "-o", "page.html")
    assert status == 0
    assert out == f"page.html: {(folder / 'page.html').stat().st_size:,} bytes\n"
    assert err.startswith("left out: run/n [old].safetensors: ")
    assert err.count("\n") == 1
    assert "checksum" in err
    assert "m.safetensors" in (folder / "page.html").read_text("utf-8")


def test_a_page_has_a_name_of_its_own(folder, run):
    assert run("report", "run")[1].startswith("run/report.html: ")
    assert run("report", "run/m.safetensors")[1].startswith("run/m.report.html: ")
    assert (folder / "run/m.report.html").exists()


def test_report_of_a_file_in_json(folder, run):
    status, out, err = run("report", "run/m.safetensors", "-o", "page.html", "--json")
    assert (status, err) == (0, "")
    size = (folder / "page.html").stat().st_size
    assert json.loads(out) == {"file": "page.html", "bytes": size, "files": ["run/m.safetensors"], "left_out": {}}


ERRORS = {
    "nothing there": (["no", "-o", "p.html"], "no: No such file or directory"),
    "no folder": (["run", "-o", "no/p.html"], "the folder no does not exist: create it"),
    "a folder": (["run/m.safetensors", "-o", "run"], "run exists and is not a file of this package"),
    "none of ours": (["run/m.ckpt", "-o", "p.html"], "does not begin like a file of this package"),
    "damaged": (["run/n [old].safetensors", "-o", "p.html"], "checksum"),
    "empty folder": (["empty", "-o", "p.html"], "there is no compressed file in empty or below it"),
    "over another file": (["run/m.safetensors", "-o", "run/m.ckpt"], "exists and is not a file of this package"),
}


@pytest.mark.parametrize(("arguments", "sentence"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_sentence_and_leave_nothing(folder, run, arguments, sentence):
    (folder / "empty").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, out, err = run("report", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_help_names_the_verb(run):
    assert "report" in run("--help")[1]


VERBS = {
    "compress": (["compress", "run/m.ckpt", "o.safetensors"], ["compressing", "writing and reading back"]),
    "expand": (["expand", "run/m.safetensors", "o.ckpt"], ["expanding"]),
    "verify": (["verify", "run/m.safetensors"], ["verifying"]),
    "retarget": (
        ["retarget", "run/m.ckpt", "searched.safetensors", "-o", "o.safetensors", "--max-bytes", "9000"],
        ["searching the steps", "writing and reading back"],
    ),
    "report": (["report", "run/m.safetensors", "-o", "o.html"], ["decoding and comparing"]),
}


@pytest.mark.parametrize(("arguments", "shown"), VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("where", ["terminal", "terminal, JSON", "pipe"])
def test_progress_shows_on_a_terminal_alone(folder, run, monkeypatch, arguments, shown, where):
    if arguments[0] == "retarget":
        searched = {"search": {"score_before": 1.0, "frontier": [[1.0, 900, 1.0]]}}
        plan = folder / "plan.yaml"
        plan.write_text("rules: [{tensors: '*', methods: [{grid: {step: 0.1}}, {half: {}}]}]")
        compress("run/m.ckpt", plan).with_metrics(searched).save("searched.safetensors")
        assert Archive.open("searched.safetensors").manifest.metrics == searched
    screen = io.StringIO()
    terminal = where != "pipe"
    monkeypatch.setattr(cli_output, "ERRORS", Console(file=screen, force_terminal=terminal, width=100))
    status, _, err = run(*arguments, *(["--json"] if "JSON" in where else []))
    assert (status, err) == (0, "")
    if where == "terminal":
        assert all(what in screen.getvalue() for what in shown)
    else:
        assert screen.getvalue() == ""
