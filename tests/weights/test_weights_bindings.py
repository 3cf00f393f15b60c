"""Bindings: which parameter, module and attribute hold each stored tensor."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lightning_compress import Weights
from lightning_compress.weights import bindings_of


class Tied(nn.Module):
    """An embedding and an output projection that share one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.projection = nn.Linear(4, 9, bias=False)
        self.projection.weight = self.embedding.weight


def owners(module, weights=None):
    """Stored name → the module and the attribute of its only binding."""
    found = bindings_of(weights or Weights.from_module(module), module)
    assert all(len(bindings) == 1 for bindings in found.values())
    return {name: (binding.module, binding.attribute) for name, (binding,) in found.items()}


def test_the_parameters_of_a_linear_layer():
    module = nn.Sequential(nn.Linear(3, 2))
    assert owners(module) == {"0.weight": (module[0], "weight"), "0.bias": (module[0], "bias")}
    ((binding,), _) = bindings_of(Weights.from_module(module), module).values()
    assert binding.parameter is module[0].weight
    assert binding.tie is None
    binding.load(torch.ones(2, 3))
    assert torch.equal(module[0].weight, torch.ones(2, 3))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_parameter_of_an_lstm(bidirectional):
    module = nn.ModuleDict({"lstm": nn.LSTM(3, 4, 2, bidirectional=bidirectional)})
    names = [name for name, _ in module["lstm"].named_parameters()]
    assert len(names) == (16 if bidirectional else 8)
    assert owners(module) == {f"lstm.{name}": (module["lstm"], name) for name in names}


def test_the_input_projection_of_attention():
    module = nn.MultiheadAttention(4, 2)
    found = owners(module)
    assert found["in_proj_weight"] == (module, "in_proj_weight")
    assert found["out_proj.weight"] == (module.out_proj, "weight")


def test_a_shared_parameter_has_one_binding_with_every_owner():
    module = Tied()
    ((binding,),) = bindings_of(Weights.from_module(module), module).values()
    assert binding.owners == ((module.embedding, "weight"), (module.projection, "weight"))
    assert (binding.module, binding.attribute) == binding.owners[0]


def test_two_parameters_on_one_memory_have_a_binding_each():
    module = Tied()
    module.projection.weight = nn.Parameter(module.embedding.weight.data)
    (bindings,) = bindings_of(Weights.from_module(module), module).values()
    assert [binding.owners for binding in bindings] == [
        ((module.embedding, "weight"),),
        ((module.projection, "weight"),),
    ]


def test_a_view_of_a_stored_tensor_is_bound_with_its_tie():
    module = nn.ParameterDict({"whole": nn.Parameter(torch.arange(12.0).view(4, 3))})
    module["rows"] = nn.Parameter(module["whole"].data[1:3])
    whole, rows = bindings_of(Weights.from_module(module), module)["whole"]
    assert (whole.attribute, whole.tie) == ("whole", None)
    assert rows.attribute == "rows"
    rows.load(torch.ones(4, 3) * torch.arange(4.0)[:, None])
    assert module["rows"][:, 0].tolist() == [1, 2]
    total = torch.zeros(4, 3)
    rows.add_gradient(torch.ones(2, 3), total)
    assert total.sum(1).tolist() == [0, 3, 3, 0]


def test_a_compiled_module_is_bound_to_the_module_inside():
    inner = nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 2))
    compiled = torch.compile(inner, backend="eager")
    plain = Weights.from_module(inner)
    expected = {name: (inner[int(name[0])], name[2:]) for name in inner.state_dict()}
    assert owners(compiled, plain) == expected
    wrapped = Weights.from_state_dict(compiled.state_dict())
    assert owners(compiled, wrapped) == {f"_orig_mod.{name}": owner for name, owner in expected.items()}
    assert owners(inner, wrapped) == owners(compiled, wrapped)


def test_a_pruned_parameter_is_the_one_behind_the_mask():
    module = nn.Linear(3, 2)
    prune.l1_unstructured(module, "weight", amount=0.5)
    assert owners(module)["weight"] == (module, "weight_orig")


def test_buffers_and_integers_have_no_binding():
    module = nn.BatchNorm1d(3)
    assert owners(module).keys() == {"weight", "bias"}
