"""A yardstick small enough for a test: its "BLEU" falls with the error of the weights."""

import importlib
from pathlib import Path

import pytest

from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class

YARDSTICK = """
import torch

class Yardstick:
    def __init__(self, kind):
        generator = torch.Generator().manual_seed(len(kind))
        self.weights = {
            "embedding.weight": torch.randn(32, 64, generator=generator),
            "score.weight": torch.randn(3, 33, generator=generator),
            "score.bias": torch.randn(3, generator=generator),
        }
        self.calls = []

    def state_dict(self):
        return dict(self.weights)

    def bleu(self, state, split="val"):
        assert {name: tensor.shape for name, tensor in state.items()} == {n: t.shape for n, t in self.weights.items()}
        self.calls.append(split)
        error = sum((state[name].float() - weight).square().sum() for name, weight in self.weights.items())
        return 40.0 - float(error) - (split == "test")
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "yardstick.py").write_text(YARDSTICK)
    return folder


@pytest.fixture
def source(models: Path) -> Source:
    importlib.invalidate_caches()
    return Source("rnn", yardstick_class(models)("rnn"))
