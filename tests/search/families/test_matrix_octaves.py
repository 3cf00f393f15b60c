"""Steps of whole matrices: equal where outputs are alike, far apart where a common step would ruin one of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_compress import Weights
from lightning_compress.quantize import feedback_factor
from lightning_compress.search.families import matrix_octaves as octaves
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.families.input_guided import Observer, grid_guides, input_guided_families
from lightning_compress.search.families.target_size import strength_for
from lightning_compress.search.observe import InputStatistics


def statistics(rows=8, columns=4, scale=1.0):
    return InputStatistics(rows, columns, gram=scale * torch.eye(columns), inputs=100)


def matrix_octaves(weights, observations):
    """With the error feedback of the inputs."""
    factors = {name: None if o.gram is None else feedback_factor(o.gram, 0.05) for name, o in observations.items()}
    return octaves.matrix_octaves(weights, observations, factors)


def octaves_of(**spreads):
    """Of matrices of one size with these standard deviations, and alike inputs."""
    torch.manual_seed(0)
    values = torch.randn(8, 4)
    weights = Weights.from_state_dict({name: spread * values for name, spread in spreads.items()})
    return matrix_octaves(weights, {name: statistics() for name in spreads})


def test_matrices_that_are_alike_have_the_common_step():
    assert octaves_of(first=1.0, second=1.5, third=0.7) == {"first": 0.0, "second": 0.0, "third": 0.0}


def test_a_matrix_of_small_weights_gets_a_finer_step_and_one_of_large_weights_a_coarser_one():
    found = octaves_of(small=2.0**-6, middle=1.0, large=2.0**6)
    assert found["middle"] == 0.0
    assert (
        found["large"] == -found["small"] == pytest.approx(4.0)
    )  # 6 octaves, of which 1 is not followed, and 4 at most
    found = octaves_of(small=2.0**-3, middle=1.0, large=2.0**3)
    assert found["large"] == pytest.approx(2.0, abs=1e-6)


def test_the_scale_of_the_inputs_does_not_matter_and_their_directions_do():
    torch.manual_seed(0)
    values = torch.randn(8, 4)
    weights = Weights.from_state_dict({"first": values, "second": values.clone()})
    assert matrix_octaves(weights, {"first": statistics(), "second": statistics(scale=1e6)}) == {
        "first": 0,
        "second": 0,
    }
    lookups = InputStatistics(8, 4, lookups=torch.full((8,), 5.0, dtype=torch.float64))
    assert matrix_octaves(weights, {"first": statistics(), "second": lookups}) == {"first": 0, "second": 0}


def test_matrices_without_outputs_or_statistics_are_left_out():
    weights = Weights.from_state_dict(
        {"zero": torch.zeros(8, 4), "known": torch.ones(8, 4), "unseen": torch.ones(8, 4)}
    )
    assert matrix_octaves(weights, {"zero": statistics(), "known": statistics()}) == {"known": 0.0}
    assert matrix_octaves(weights, {}) == {}


class Unbalanced(nn.Module):
    """As in models whose embeddings are not scaled: large words, small maps, and a norm that hides it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.words = nn.Embedding(600, 32)
        self.first, self.second = nn.Linear(32, 32, bias=False), nn.Linear(32, 6, bias=False)
        for each in (self.first, self.second):
            each.weight.data *= 0.02 / each.weight.data.std()

    def forward(self, ids):
        hidden = F.layer_norm(self.first(self.words(ids)), (32,))
        return F.layer_norm(self.second(hidden), (6,))


@torch.no_grad()
def test_a_model_of_unbalanced_weights_keeps_its_outputs_at_equal_bytes():
    module, ids = Unbalanced().eval(), torch.arange(600)
    weights = Weights.from_state_dict({n: t.clone() for n, t in module.state_dict().items()}, module=module)
    observer = Observer(weights, module)
    with observer.recording():
        exact = module(ids)
    assert {
        name: guide.exponents is not None for name, guide in grid_guides(weights, observer.observations).items()
    } == {
        "words.weight": True,
        "first.weight": True,
        "second.weight": True,
    }
    errors = []
    for family in (uniform_families(weights)[0], input_guided_families(weights, observer.observations)[0]):
        archive = family.archive(strength_for(family, 12_000))
        assert math.isclose(archive.nbytes, 12_000, rel_tol=0.25)
        module.load_state_dict(archive.restore())
        errors.append(float((module(ids) - exact).square().mean()))
    assert errors[1] < 0.2 * errors[0]
