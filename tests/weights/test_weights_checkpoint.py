"""Checkpoints on disk: those of Lightning and bare state dicts are read; other files give a clear error."""

from __future__ import annotations

import random
import zipfile

import fsspec
import pytest
import torch
from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights

STATE = {"net.weight": torch.arange(6.0).reshape(2, 3), "net.steps": torch.tensor(3), "loss.weight": torch.ones(2)}


class Code:
    """A class that a checkpoint must not name."""


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def lightning_checkpoint():
    return {
        "epoch": 3,
        "state_dict": STATE,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2, 3)}}}],
        "hyper_parameters": {"size": 3, "sizes": (1, 2), "device": torch.device("cpu")},
        "callbacks": {},
        "pytorch-lightning_version": "2.6.0",
    }


def expect_state(weights):
    expected = {"net.weight": [[0, 1, 2], [3, 4, 5]], "net.steps": 3, "loss.weight": [1, 1]}
    assert {w.name: w.tensor.tolist() for w in weights} == expected
    assert weights.excluded == ()
    assert weights.class_path is None


def test_a_lightning_checkpoint(tmp_path):
    weights = Weights.from_checkpoint(saved(tmp_path / "m.ckpt", lightning_checkpoint()))
    expect_state(weights)
    assert weights.hyper_parameters == {"size": 3, "sizes": (1, 2)}
    assert weights.hyper_parameters_left_out == ("device",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_bare_state_dict_in_current_and_old_format(tmp_path, is_zip):
    path = saved(tmp_path / "m.pt", STATE, _use_new_zipfile_serialization=is_zip)
    weights = Weights.from_checkpoint(str(path))
    expect_state(weights)
    assert weights.hyper_parameters == {}


def test_a_checkpoint_at_a_url():
    with fsspec.open("memory://weights/m.ckpt", "wb") as file:
        torch.save(lightning_checkpoint(), file)
    expect_state(Weights.from_checkpoint("memory://weights/m.ckpt"))


def test_exclusion_and_classes(tmp_path):
    path = saved(tmp_path / "m.ckpt", lightning_checkpoint())
    weights = Weights.from_checkpoint(path, exclude=["*.steps"], classes={"all": "*"})
    assert [(w.name, w.class_name) for w in weights] == [("net.weight", "all"), ("loss.weight", "all")]


def test_ties_are_found_in_a_checkpoint(tmp_path):
    table = torch.ones(3, 2)
    weights = Weights.from_checkpoint(saved(tmp_path / "m.ckpt", {"state_dict": {"a": table, "b": table[1]}}))
    assert [(name, tie.of, tie.offset) for name, tie in weights.ties.items()] == [("b", "a", 2)]


def test_code_that_was_allowed_is_read(tmp_path):
    path = saved(tmp_path / "m.ckpt", {"state_dict": STATE, "x": Code()})
    with torch.serialization.safe_globals([Code]):
        expect_state(Weights.from_checkpoint(path))


def test_a_whole_module_is_refused_by_name(tmp_path):
    path = saved(tmp_path / "m.pt", nn.Linear(2, 2))
    with pytest.raises(
        WeightsError,
        match=r"holds a whole module \(torch\.nn\.modules\.linear\.Linear\), .* save model\.state_dict\(\)",
    ):
        Weights.from_checkpoint(path)


WRONG = {
    "missing": (lambda path: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "is a directory without a checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "is empty: writing or downloading it failed"),
    "text": (lambda path: path.write_text("hello\nworld"), "damaged, or of another kind"),
    "tensor": (lambda path: saved(path, torch.ones(2)), r"holds one tensor, expected .* save model\.state_dict\(\)"),
    "list": (lambda path: saved(path, [1]), "holds one list"),
    "no tensors": (
        lambda path: saved(path, {"epoch": 3, "a": 1}),
        r"holds no state dict, but epoch \(int\), a \(int\)",
    ),
    "one number": (lambda path: saved(path, {"epoch": 3, **STATE}), "'epoch' is of type int, expected a name"),
    "number": (lambda path: saved(path, {"state_dict": 3}), "'state_dict' is a int, expected names and tensors"),
}


@pytest.mark.parametrize(("write", "message"), WRONG.values(), ids=WRONG)
def test_other_files_give_a_clear_error(tmp_path, write, message):
    path = tmp_path / "m.ckpt"
    write(path)
    with pytest.raises(WeightsError, match=message):
        Weights.from_checkpoint(path)


def test_other_zip_files(tmp_path):
    path = tmp_path / "m.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(WeightsError, match="damaged, or of another kind"):
        Weights.from_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
def test_damage_always_raises_a_weights_error(tmp_path, is_zip):
    whole = saved(tmp_path / "whole.ckpt", {"state_dict": STATE}, _use_new_zipfile_serialization=is_zip).read_bytes()
    chance = random.Random(0)
    path = tmp_path / "m.ckpt"
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged[: chance.choice([len(whole), chance.randrange(len(whole))])])
        try:
            Weights.from_checkpoint(path)
        except WeightsError:
            refused += 1
    assert refused > 75
