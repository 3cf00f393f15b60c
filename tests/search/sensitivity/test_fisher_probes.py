"""Probes against the Fisher information computed whole."""

from __future__ import annotations

import math

import pytest
import torch
from small_calibration import Answers, Batches, ids, vectors
from small_network import Net
from test_fisher import measured
from torch import nn

from lightning_compress.errors import SearchError
from lightning_compress.search.sensitivity.fisher_probes import fisher_probe


def directions(scores, count):
    """``[count, rows, classes]`` probes, all drawn at once."""
    leaf = scores.repeat(count, 1, 1).requires_grad_(True)
    return torch.autograd.grad(fisher_probe(leaf, torch.Generator().manual_seed(0)), leaf)[0]


def test_probes_have_the_curvature_of_the_softmax_as_their_second_moment():
    scores = torch.tensor([[2.0, 0.0, -1.0, 0.5]])
    p = scores.softmax(-1)[0]
    found = directions(scores, 20_000)[:, 0]
    torch.testing.assert_close(found.T @ found / len(found), p.diag() - p.outer(p), rtol=0.05, atol=0.01)


def test_every_class_contributes_to_every_probe():
    scores = torch.tensor([[0.0, -7.0, -7.5]])
    p = scores.softmax(-1)[0]
    found = directions(scores, 50)[:, 0, 1:].square()
    assert bool(((found / p[1:]).log().abs() < 1).all())


def test_impossible_classes_do_not_contribute():
    scores = torch.tensor([[1.0, -math.inf, 0.0]])
    found = directions(scores, 3)
    assert bool(found.isfinite().all())
    assert not found[..., 1].any()


def fisher_of(module, calibration):
    """By name ``F``, whole, of every answer."""
    found = {name: 0.0 for name, _ in module.named_parameters()}
    for batch in calibration:
        scores = calibration.outputs(module, batch)
        for row in scores:
            p = row.softmax(-1).detach()
            for label, weight in enumerate(p):
                gradients = torch.autograd.grad(row.log_softmax(-1)[label], module.parameters(), retain_graph=True)
                for name, gradient in zip(found, gradients, strict=True):
                    found[name] = found[name] + weight * gradient.reshape(len(gradient), -1).square().sum(1)
    return found


def test_with_outputs_the_statistics_are_the_fisher_information():
    module = nn.Linear(6, 4)
    calibration = vectors(6, count=80, cls=Answers)
    found = measured(module, calibration)
    for name, wanted in fisher_of(module, calibration).items():
        torch.testing.assert_close(found[name].row_totals, wanted, rtol=0.2, atol=0)


def test_labels_are_used_only_without_outputs():
    module, data = nn.Linear(6, 4), vectors(6).batches
    other = [(x, (y + 1) % 4) for x, y in data]
    first, second = (measured(module, Answers(batches)) for batches in (data, other))
    assert torch.equal(first["weight"].row_squares, second["weight"].row_squares)
    first, second = (measured(module, Batches(batches)) for batches in (data, other))
    assert not torch.equal(first["weight"].row_squares, second["weight"].row_squares)


def test_few_batches_are_repeated():
    class Counting(Answers):
        calls = 0

        def outputs(self, module, batch):
            self.calls += 1
            return super().outputs(module, batch)

    calibration = ids(count=5, cls=Counting)
    measured(Net(), calibration)
    assert calibration.calls == 35


def test_both_folds_are_filled():
    found = measured(Net(), ids(count=4, cls=Answers))
    for sensitivity in found.values():
        assert bool(sensitivity.row_squares.any(1).all())


def test_outputs_that_fail_are_named_in_the_error():
    class Failing(Answers):
        def outputs(self, module, batch):
            raise ValueError("too long")

    with pytest.raises(SearchError, match=r"calibration.outputs failed on batch 0 with ValueError: too long"):
        measured(nn.Linear(6, 4), Failing(vectors(6).batches))
