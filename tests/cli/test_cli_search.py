"""``tune`` and ``retarget`` on the command line."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from lightning_compress import Archive

pytestmark = pytest.mark.usefixtures("quick_coding", "quick_predictions")

PROJECT = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Linear(16, width), nn.Linear(width, 64)

    def forward(self, x):
        return self.head(self.hidden(x).relu())


X = torch.randn(400, 16, generator=torch.Generator().manual_seed(1))


def score(module):
    if "right" not in globals():
        globals()["right"] = module(X).argmax(-1)
    return 100 * float((module(X).argmax(-1) == right).float().mean())


def sure(module):
    from lightning_compress import Score
    return Score.mean_of(100.0 * (module(X[:200]).argmax(-1) == module(X[:200]).argmax(-1)).float().numpy())


def interrupted(module):
    calls.append(1)
    if len(calls) == 8:
        raise KeyboardInterrupt
    return score(module)


calls = []


def broken(module):
    raise ValueError("no data here")


class Data:
    def __iter__(self):
        return iter([X[:8], X[8:16]])

    def loss(self, module, batch):
        return module(batch).square().mean()


class Teaching(Data):
    def loss(self, module, batch):
        return nn.functional.cross_entropy(module(batch), torch.arange(len(batch)))

    def outputs(self, module, batch):
        return module(batch)


class Once(Data):
    def __iter__(self):
        return self

    def __next__(self):
        return X[:8]


once = Once()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a user's module and a checkpoint of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "tuned_project", raising=False)
    (tmp_path / "tuned_project.py").write_text(PROJECT, encoding="utf-8")
    torch.manual_seed(0)
    state = {"hidden.weight": torch.randn(96, 16), "hidden.bias": torch.randn(96)}
    state |= {"head.weight": torch.randn(64, 96), "head.bias": torch.randn(64)}
    torch.save({"state_dict": state, "hyper_parameters": {"width": 96, "other": 1}}, "m.ckpt")
    return tmp_path


TUNE = ("tune", "m.ckpt", "-o", "small.safetensors", "--module", "tuned_project:Net", "--effort", "quick")
SCORE = ("--evaluate", "tuned_project:score")


def test_tune_finds_a_small_file_that_holds(folder, run):
    status, out, err = run(*TUNE, *SCORE, "--max-drop", "5", "--json")
    assert (status, err) == (0, "")
    body = json.loads(out)
    assert body["bytes"] == (folder / "small.safetensors").stat().st_size
    assert body["metrics"]["search"]["drop"] <= 5
    assert body["hyper_parameters"] == {"width": 96, "other": 1}
    assert body["class_path"] == "tuned_project.Net"


def test_tune_prints_a_table_and_no_bar_to_a_pipe(folder, run):
    status, out, err = run(*TUNE, *SCORE, "--max-drop", "5", "--calibration", "tuned_project:Data")
    assert (status, err) == (0, "")
    assert "small.safetensors: " in out


def test_tune_confirms_on_other_items(folder, run):
    status, out, _ = run(
        *TUNE, *SCORE, "--max-drop", "5", "--assured", "0.9", "--confirm", "tuned_project:sure", "--json"
    )
    assert status == 0
    found = json.loads(out)["metrics"]["search"]
    assert found["confirmed"]["passed"]
    assert found["confirmed"]["items"] == 200
    assert found["assured"] >= 0.9


def test_an_interrupted_tune_writes_what_it_found(folder, run):
    status, out, err = run(*TUNE, "--evaluate", "tuned_project:interrupted", "--max-drop", "5", "--json")
    assert status == 130
    assert json.loads(out)["metrics"]["search"]["interrupted"] == "KeyboardInterrupt"
    assert "note: the search ended early, after 8 of at most 8 evaluations" in err
    assert Archive.open("small.safetensors")


def test_tune_to_a_budget_and_retarget(folder, run):
    assert run(*TUNE, *SCORE, "--max-bytes", "9000")[0] == 0
    assert (folder / "small.safetensors").stat().st_size <= 9000
    status, out, err = run(
        "retarget", "m.ckpt", "small.safetensors", "--max-bytes", "7000", "-o", "tiny.safetensors", "--json"
    )
    assert (status, err) == (0, "")
    assert json.loads(out)["bytes"] <= 7000
    assert Archive.open("tiny.safetensors").manifest.class_path == "tuned_project.Net"


def test_tune_with_calibration(folder, run):
    status, _, err = run(*TUNE, *SCORE, "--max-drop", "10%", "--calibration", "tuned_project:Teaching", "--json")
    assert (status, err) == (0, "")
    assert Archive.open("small.safetensors").streams_named("row_exponents").keys() == {"hidden.weight", "head.weight"}


ERRORS = {
    "no colon": ((*TUNE, "--evaluate", "tuned_project"), "--evaluate is 'tuned_project', expected package.module:name"),
    "no module": ((*TUNE, "--evaluate", "absent_project:f"), "--evaluate 'absent_project:f': No module named"),
    "no function": ((*TUNE, "--evaluate", "tuned_project:f"), "there is no 'f' in tuned_project"),
    "no folder": (("tune", "m.ckpt", "-o", "no/s.safetensors", *TUNE[4:], *SCORE), "the folder no does not exist"),
    "fails": (
        (*TUNE, "--evaluate", "tuned_project:broken", "--max-drop", "1"),
        "evaluate failed on the exact weights with ValueError: no data",
    ),
    "small": ((*TUNE, *SCORE, "--max-bytes", "10"), "no file of 10 bytes can be made: the smallest has"),
    "drop": ((*TUNE, *SCORE, "--max-drop", "-1"), "max_drop is -1.0, expected a finite number from 0"),
    "no drop": ((*TUNE, *SCORE), "max_drop is needed: how much of 'score'"),
    "assured": ((*TUNE, *SCORE, "--max-drop", "1", "--assured", "1"), "assured is 1.0, expected a probability"),
    "confirm": ((*TUNE, *SCORE, "--max-drop", "1", "--confirm", "nothing"), "--confirm is 'nothing', expected"),
    "effort": ((*TUNE, *SCORE, "--max-drop", "1", "--effort", "much"), "effort='much' is not known"),
    "once": ((*TUNE, *SCORE, "--max-drop", "1", "--calibration", "tuned_project:once"), "calibration is an iterator"),
    "retarget": (
        ("retarget", "m.ckpt", "m.ckpt", "--max-bytes", "9", "-o", "o.safetensors"),
        "does not begin like a file",
    ),
}


@pytest.mark.parametrize(("arguments", "told"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_sentence_and_leave_nothing(folder, run, arguments, told):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert told in err
    assert "Traceback" not in err
    assert not list(folder.glob("*.safetensors"))


def test_other_weights_are_refused(folder, run):
    assert run(*TUNE, *SCORE, "--max-drop", "5")[0] == 0
    state = torch.load("m.ckpt", weights_only=True)
    state["state_dict"]["head.bias"] += 1
    torch.save(state, "other.ckpt")
    status, _, err = run("retarget", "other.ckpt", "small.safetensors", "--max-bytes", "9000", "-o", "o.safetensors")
    assert status == 1
    assert "these are not the weights that the file was made from" in err
