"""Weights through a file: the same file that ``compress`` makes, however little of it is made anew."""

import pytest
import torch

from lightning_compress import Interval, Plan, Prune, Rule, Weights, compress
from recipes.paper.experiments.fig5 import plan_of
from recipes.paper.measurement.round_trip import LOSSLESS, Compressor


@pytest.fixture
def tied():
    """Weights of two classes; one tensor of each is tied to another name."""
    torch.manual_seed(0)
    shared, top = torch.randn(30, 8), torch.randn(8, 8)
    state = {
        "encoder.0.weight": torch.randn(8, 8),
        "source_embedding.weight": shared,
        "target_embedding.weight": shared,
        "softmax.weight": top,
        "decoder.0.weight": top,
    }
    return Weights.from_state_dict(state)


@pytest.mark.parametrize(
    "plan",
    [
        LOSSLESS,
        plan_of({"encoder.0": 0.5}),
        plan_of({"source_embedding": 0.3}),
        plan_of({"encoder.0": 0.5, "softmax": 0.25, "source_embedding": 0.0}),
        Plan(Rule("*", Prune(0.4), Interval(4))),
    ],
)
def test_what_is_left_exact_is_coded_once_and_the_file_is_the_same(tied, plan, tmp_path):
    compressor = Compressor(tied)
    compressor.archive(plan_of({"softmax": 0.5}))
    made, expected = tmp_path / "made.safetensors", tmp_path / "expected.safetensors"
    compressor.archive(plan).save(made)
    compress(tied, plan).save(expected)
    assert made.read_bytes() == expected.read_bytes()
    file = compressor.round_trip(plan)
    restored = compress(tied, plan).restore()
    assert file.tensors.keys() == restored.keys()
    assert all(torch.equal(file.tensors[name], tensor) for name, tensor in restored.items())
    assert file.bytes == expected.stat().st_size
    stored = [file.tensors[weight.name] for weight in tied]
    assert file.zeros == pytest.approx(sum((t == 0).sum() for t in stored) / sum(t.numel() for t in stored))


def test_classes_pruned_alone_leave_the_others_exact(tied):
    tensors = Compressor(tied).round_trip(plan_of({"encoder.0": 0.5})).tensors
    exact = {weight.name: weight.tensor for weight in tied}
    changed = {name for name, tensor in exact.items() if not torch.equal(tensors[name], tensor)}
    assert changed == {"encoder.0.weight"}
    assert (tensors["encoder.0.weight"] == 0).sum() == 32
    assert plan_of({"encoder.0": 0.0}) == LOSSLESS
