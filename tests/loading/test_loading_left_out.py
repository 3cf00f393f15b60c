"""Loading tells which trained parameters a file leaves out."""

from __future__ import annotations

import logging

import torch
from torch import nn

from lightning_compress import compress, load_from_checkpoint
from lightning_compress.weights import Weights


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.helper = nn.Linear(2, 2)
        self.teacher = nn.Linear(2, 2).requires_grad_(False)


def test_trained_parameters_that_a_file_leaves_out_are_named_as_it_is_loaded(tmp_path, caplog):
    torch.manual_seed(0)
    weights = Weights.from_module(Model(), exclude=["helper.*", "teacher.*"])
    compress(weights, "half").save(tmp_path / "m.safetensors")
    load_from_checkpoint(Model, tmp_path / "m.safetensors")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "m.safetensors leaves out helper.weight, helper.bias, which the module trains" in record.getMessage()


def test_nothing_is_logged_if_only_frozen_parameters_are_left_out(tmp_path, caplog):
    compress(Weights.from_module(Model(), exclude=["teacher.*"]), "half").save(tmp_path / "m.safetensors")
    load_from_checkpoint(Model, tmp_path / "m.safetensors")
    assert not caplog.records
