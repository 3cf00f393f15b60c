"""A yardstick small enough for a test: its "BLEU" falls with the error of the weights."""

import importlib
from pathlib import Path

import pytest

from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class

YARDSTICK = """
import torch
from torch import nn

WORDS, DEVIATION = 32, 1.0

class Translator(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 64)
        self.score = nn.Linear(33, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(DEVIATION * torch.randn(parameter.shape, generator=generator))

    def forward(self, source, previous):
        memory = self.embedding(source).mean(1, keepdim=True)
        return self.score((self.embedding(previous) + memory)[..., 15:48])

class Yardstick:
    def __init__(self, kind):
        self.model = Translator(torch.Generator().manual_seed(len(kind)))
        self.weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.calls = []

    def state_dict(self):
        return dict(self.weights)

    def batches(self, sentences=2000, size=64, split="train"):
        generator = torch.Generator().manual_seed(len(split))
        for _ in range(4):
            words = [torch.randint(1, WORDS, (6, 5), generator=generator) for _ in range(2)]
            target = words[1] % 3
            yield *words, target

    def bleu(self, state, split="val"):
        assert {name: tensor.shape for name, tensor in state.items()} == {n: t.shape for n, t in self.weights.items()}
        self.model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        self.calls.append(split)
        self.model(torch.arange(1, 13).reshape(3, 4), torch.arange(1, 13).reshape(3, 4))
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


@pytest.fixture
def larger(models: Path) -> Source:
    """So many weights that a file is more than its header, and so small ones that some of them may be lost."""
    text = YARDSTICK.replace("WORDS, DEVIATION = 32, 1.0", "WORDS, DEVIATION = 500, 0.05")
    (models / "yardstick.py").write_text(text)
    importlib.invalidate_caches()
    return Source("rnn", yardstick_class(models)("rnn"))
