"""Inputs with the exact weights: which matrices, which batches, and how many inputs."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_compress import Weights
from lightning_compress.search.observe.stored_matrices import MatrixRows, StoredMatrices
from lightning_compress.search.propagation import exact_inputs
from lightning_compress.search.propagation.exact_inputs import ExactInputs, sample, spread
from lightning_compress.search.propagation.matrix_inputs import small_operators
from lightning_compress.weights.bindings import bindings_of


def recorded(module, batches, nbytes=0):
    matrices = StoredMatrices(bindings_of(Weights.from_module(module), module))
    with torch.no_grad(), small_operators():
        return ExactInputs.of(module.eval(), batches, matrices, nbytes)


def test_matrices_are_in_the_order_of_use_with_the_inputs_of_each_batch():
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    batches = [torch.randn(5, 4), torch.randn(7, 4)]
    found = recorded(module, batches)
    assert list(found.inputs) == [MatrixRows("0.weight", 0, 8), MatrixRows("2.weight", 0, 3)]
    for number, batch in enumerate(found.batches):
        first, second = (of_batches[number] for of_batches in found.inputs.values())
        torch.testing.assert_close(first, batch.bfloat16())
        torch.testing.assert_close(second, module[1](module[0](batch)).detach().bfloat16())


class Tied(nn.Module):
    """A table that is looked up and multiplied with, and a matrix that is used twice."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 6)
        self.twice = nn.Linear(6, 6)
        self.once = nn.Linear(6, 6)

    def forward(self, ids):
        hidden = self.once(self.twice(self.twice(self.table(ids))))
        return hidden @ self.table.weight.T


def test_matrices_that_a_batch_uses_twice_or_looks_up_are_left_out():
    found = recorded(Tied(), [torch.arange(10), torch.arange(5)])
    assert [rows.name for rows in found.inputs] == ["once.weight"]


def test_rows_of_an_attention_layer_are_told_apart():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, batch):
            memory = 2 * batch
            return self.layer(batch, memory, memory)[0]

    found = recorded(Attends(), [torch.randn(2, 3, 8), torch.randn(2, 3, 8)])
    assert list(found.inputs) == [
        MatrixRows("layer.in_proj_weight", 0, 8),
        MatrixRows("layer.in_proj_weight", 8, 16),
        MatrixRows("layer.out_proj.weight", 0, 8),
    ]


def test_a_recurrent_layer_shows_both_of_its_matrices():
    lstm = nn.LSTM(4, 6, 2, batch_first=True)
    found = recorded(lstm, [torch.randn(3, 5, 4), torch.randn(3, 5, 4)])
    assert [rows.name for rows in found.inputs] == ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"]
    assert {inputs[0].shape for inputs in found.inputs.values()} == {(15, 4), (15, 6)}


def test_it_ends_with_enough_inputs_and_with_enough_memory(monkeypatch):
    module = nn.Linear(4, 2)
    monkeypatch.setattr(exact_inputs, "_INPUTS", 25)
    assert len(recorded(module, [torch.randn(10, 4)] * 9).batches) == 3
    monkeypatch.setattr(exact_inputs, "_LEAST_BYTES", 100)
    assert len(recorded(module, [torch.randn(10, 4)] * 9).batches) == 2  # of 80 bytes each
    assert len(recorded(module, [torch.randn(10, 4)] * 9, nbytes=1000).batches) == 3


def test_a_sample_is_spread_evenly_and_no_larger_than_wanted():
    inputs = torch.arange(4096.0).reshape(2, 2048, 1).expand(2, 2048, 3)
    found = sample(inputs)
    assert found.shape == (1024, 3)
    torch.testing.assert_close(found[:, 0], torch.arange(0.0, 4096.0, 4.0).bfloat16())
    assert sample(torch.ones(3, 5)).shape == (3, 5)


@pytest.mark.parametrize("count", [1, 2, 17, 64])
def test_the_first_batches_come_from_everywhere(count):
    order = spread(range(count))
    assert sorted(order) == list(range(count))
    if count > 16:
        first = sorted(order[:8])
        assert max(b - a for a, b in pairwise(first)) < count / 3
        assert first[0] < count / 4
        assert first[-1] > 3 * count / 4
