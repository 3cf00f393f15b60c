"""Groups of tensors by class, by tensor, by patterns and by a function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress.errors import SearchError
from lightning_compress.search.sensitivity.layers import check_groups
from lightning_compress.search.sensitivity.layers.groups import grouped
from lightning_compress.weights import Weights


class Model(nn.Module):
    """An embedding tied to the softmax, two layers, a norm with statistics, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.encoder = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.norm = nn.BatchNorm1d(4)
        self.softmax = nn.Linear(4, 7, bias=False)
        self.softmax.weight = self.embedding.weight
        self.register_buffer("empty", torch.empty(0))


@pytest.fixture
def weights():
    return Weights.from_module(Model())


def names(groups):
    return {group: [weight.name for weight in part] for group, part in groups.items()}


def test_by_class_what_is_no_weight_is_left_out(weights):
    assert names(grouped(weights, "class")) == {
        "embedding": ["embedding.weight"],
        "encoder.0": ["encoder.0.weight", "encoder.0.bias"],
        "encoder.1": ["encoder.1.weight", "encoder.1.bias", "norm.weight", "norm.bias"],
    }


def test_by_tensor_each_stands_alone(weights):
    found = names(grouped(weights, "tensor"))
    assert all(part == [group] for group, part in found.items())
    assert len(found) == 7


def test_patterns_may_overlap_and_know_tied_names(weights):
    found = names(grouped(weights, {"biases": "*.bias", "first": ["encoder.0.*", "norm.*"], "out": "softmax.*"}))
    assert found == {
        "biases": ["encoder.0.bias", "encoder.1.bias", "norm.bias"],
        "first": ["encoder.0.weight", "encoder.0.bias", "norm.weight", "norm.bias"],
        "out": ["embedding.weight"],
    }


def test_a_function_names_the_group_or_none(weights):
    found = grouped(weights, lambda weight: f"{weight.tensor.ndim}-d" if "norm" not in weight.name else None)
    assert names(found) == {
        "2-d": ["embedding.weight", "encoder.0.weight", "encoder.1.weight"],
        "1-d": ["encoder.0.bias", "encoder.1.bias"],
    }


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"attention": "*attn*"},
            r"group 'attention': pattern '\*attn\*' matches none of the 7 floating-point tensors",
        ),
        ({"encoder": "encoder.0.wieght"}, r"did you mean 'encoder.0.weight'\?"),
        ({"counter": "*num_batches_tracked"}, "matches none"),
        (lambda weight: 3, "groups gave 3 for 'embedding.weight', expected the name of a group"),
        (lambda weight: None, "none of the 11 tensors is a floating-point weight of a group"),
    ],
)
def test_groups_without_tensors_are_an_error(weights, groups, message):
    with pytest.raises(SearchError, match=message):
        grouped(weights, groups)


@pytest.mark.parametrize("groups", ["layer", None, {}, {"a": []}, {"a": [3]}, {"a": ""}, 5])
def test_what_makes_no_groups_is_refused(groups):
    with pytest.raises(SearchError, match="groups is"):
        check_groups(groups)


@pytest.mark.parametrize("groups", ["class", "tensor", {"a": "*"}, {"a": ["x", "y"]}, len])
def test_what_makes_groups_is_taken(groups):
    check_groups(groups)
