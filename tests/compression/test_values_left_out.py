"""Hyper-parameters and checkpoint values that are left out are named: once in the log, and by ``inspect``."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from torch import nn

from lightning_compress import Weights, compress
from lightning_compress.weights import CheckpointRecord

STATE = nn.Linear(3, 2).state_dict()
RECORD = CheckpointRecord(
    hyper_parameters={"width": 3},
    hyper_parameters_left_out=("tokenizer", "net"),
    checkpoint={"epoch": 3},
    checkpoint_left_out=("sampler",),
)


def _weights() -> Weights:
    return Weights.from_state_dict(STATE, record=RECORD)


def test_they_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        compress(_weights(), "half")
        compress(_weights(), "half")
    assert [record.message for record in caplog.records] == [
        "hyper-parameters that cannot be stored exactly: tokenizer, net; load_from_checkpoint asks for them",
        "values of on_save_checkpoint that cannot be stored exactly: sampler; on_load_checkpoint does not get them",
    ]


def test_inspect_lists_them(tmp_path: Any, run: Any) -> None:
    file = tmp_path / "m.safetensors"
    compress(_weights(), "half").save(file)
    status, output, _ = run("inspect", file)
    assert status == 0
    assert "hyper-parameters left out: tokenizer, net\n" in output
    assert "checkpoint values left out: sampler\n" in output
