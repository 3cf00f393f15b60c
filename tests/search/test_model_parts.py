"""Few patterns that tell small parameters from matrices, and the parts of a model."""

from __future__ import annotations

import pytest
import torch
from small_network import Net
from torch import nn

from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.model_parts import model_patterns
from lightning_compress.weights import Weights, matches_any


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.src_embedding = nn.Embedding(40, 16)
        self.tgt_embedding = nn.Embedding(40, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False)
        self.decoder = nn.LSTM(16, 16, 2)
        self.softmax = nn.Linear(16, 40)


class Tied(Translator):
    def __init__(self):
        super().__init__()
        self.softmax.weight = self.tgt_embedding.weight


@pytest.mark.parametrize("make", [Translator, Tied, Net, lambda: nn.Linear(3, 3), lambda: nn.LayerNorm(4)])
def test_the_patterns_select_exactly_the_small_parameters(make):
    module = make()
    weights = Weights.from_module(module)
    patterns = model_patterns(weights)
    for name, tensor in module.state_dict().items():
        is_small = tensor.ndim < 2 and tensor.is_floating_point() and "running" not in name
        assert matches_any(patterns.small_parameters, name) == is_small, name
    assert len(patterns.small_parameters) <= 12


def test_the_parts_are_those_of_the_classes_largest_first():
    parts = model_patterns(Weights.from_module(Translator())).parts
    assert set(parts) == {"source_embedding", "target_embedding", "encoder", "decoder", "softmax"}
    assert parts["encoder"] == "encoder.*"
    assert next(iter(parts)) == "encoder"
    assert model_patterns(Weights.from_module(nn.Linear(3, 3))).parts == {}


@pytest.mark.parametrize("make", [Translator, Tied, Net, lambda: nn.LayerNorm(4), lambda: nn.Conv2d(3, 4, 3)])
def test_every_model_has_a_family_that_shrinks_with_strength(make):
    weights = Weights.from_module(make())
    (family,) = uniform_families(weights)
    assert list(family.shares) == list(model_patterns(weights).parts)
    middle = (family.weakest + family.strongest) / 2
    archives = [family.archive(strength) for strength in (family.weakest, middle, family.strongest)]
    coded = [sum(entry.coded_bytes for entry in archive.manifest.entries) for archive in archives]
    assert coded == sorted(coded, reverse=True)  # without the text of the plan, whose numbers differ in length
    assert [round(family.predict_bytes(s)) for s in (family.weakest, middle)] == [each.nbytes for each in archives[:2]]
    assert sum(family.shares.values()) == pytest.approx(1.0 if family.shares else 0.0)
    for part in family.shares:
        stronger, weaker = family.with_offsets({part: 2.0}), family.with_offsets({part: -2.0})
        archives = [made.archive(middle) for made in (stronger, weaker)]
        assert archives[0].nbytes < archives[1].nbytes
        # Tensors are predicted; what the manifest says of them, and of rules, changes by some bytes besides.
        coded = [sum(entry.coded_bytes for entry in archive.manifest.entries) for archive in archives]
        predicted = weaker.predict_bytes(middle) - stronger.predict_bytes(middle)
        assert predicted == pytest.approx(coded[1] - coded[0], rel=0.1)
        assert stronger.with_offsets({}).archive(middle).streams == family.archive(middle).streams


def test_large_tensors_are_predicted_from_some_rows():
    torch.manual_seed(0)
    weights = Weights.from_module(nn.Sequential(nn.Linear(300, 900), nn.Linear(900, 300)))
    (family,) = uniform_families(weights)
    for strength in (family.weakest, (family.weakest + family.strongest) / 2):
        assert family.predict_bytes(strength) == pytest.approx(family.archive(strength).nbytes, rel=0.06)
