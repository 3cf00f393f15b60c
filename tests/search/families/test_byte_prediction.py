"""Predicted bytes: of samples of rows, with the steps that guides give them."""

from __future__ import annotations

import pytest
import torch

from lightning_compress import Grid, Plan, Rule, Weights, compress
from lightning_compress.quantize import GridGuide
from lightning_compress.search.families.byte_prediction import predicted_bytes

PLAN = Plan(Rule("*", Grid(0.5, relative=True)))


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return Weights.from_state_dict({"large": torch.randn(1024, 64), "small": torch.randn(40, 64)})


@pytest.mark.parametrize("octaves", [-2, 0, 1])
def test_steps_of_matrices_are_predicted(weights, octaves):
    guidance = {"large": GridGuide(torch.full((1024,), 32 * octaves, dtype=torch.int32))}
    predicted, archive = predicted_bytes(weights, PLAN, guidance), compress(weights, PLAN, guidance=guidance)
    of_entries = {entry.name: entry.coded_bytes for entry in archive.manifest.entries}
    assert predicted["large"] == pytest.approx(of_entries["large"], rel=0.05)
    assert predicted["small"] == of_entries["small"]


def test_steps_of_rows_are_those_of_the_sampled_rows(weights):
    exponents = torch.zeros(1024, dtype=torch.int32)
    exponents[::16] = 64
    coarse = predicted_bytes(weights, PLAN, {"large": GridGuide(exponents)})["large"]
    assert coarse < 0.5 * predicted_bytes(weights, PLAN, {})["large"]


def test_error_feedback_is_left_out_and_guides_of_other_methods_too(weights):
    fed_back = {"large": GridGuide(None, torch.eye(64))}
    assert predicted_bytes(weights, PLAN, fed_back) == predicted_bytes(weights, PLAN, {})
    assert predicted_bytes(weights, PLAN, {"large": object()}) == predicted_bytes(weights, PLAN, {})
