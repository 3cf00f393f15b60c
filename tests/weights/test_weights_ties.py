"""Tensors that share memory are stored once: whole tensors, slices, transposes, and shared parameters of a module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress import Plan, Raw, Rule, compress
from lightning_compress.weights import Tie, Weights

EXACT = Plan(Rule("*", Raw()))


def table():
    return torch.arange(24.0).reshape(6, 4)


def same(name_of_base, base):
    return Tie(name_of_base, 0, tuple(base.shape), tuple(base.contiguous().stride()))


def views():
    """Name → (state dict, the ties it has)."""
    w = table()
    big = table()
    yield "same tensor", {"a": w, "b": w, "c": w}, {"b": same("a", w), "c": same("a", w)}
    yield "parameter and its data", {"a": nn.Parameter(w), "b": w}, {"b": same("a", w)}
    yield "slice", {"a": big, "b": big[2:4]}, {"b": Tie("a", 8, (2, 4), (4, 1))}
    yield "slice before its base", {"b": big[2:4], "a": big}, {"b": Tie("a", 8, (2, 4), (4, 1))}
    yield "column", {"a": big, "b": big[:, 1]}, {"b": Tie("a", 1, (6,), (4,))}
    yield "transpose", {"a": w, "b": w.t()}, {"b": Tie("a", 0, (4, 6), (1, 4))}
    yield "transpose before its base", {"b": w.t(), "a": w}, {"b": Tie("a", 0, (4, 6), (1, 4))}
    yield "two equal transposes alone", {"a": w.t(), "b": w.t()}, {"b": Tie("a", 0, (4, 6), (6, 1))}
    yield "expanded row", {"a": w, "b": w[:1].expand(3, 4)}, {"b": Tie("a", 0, (3, 4), (0, 1))}
    yield "reshaped", {"a": w, "b": w.reshape(-1)}, {"b": Tie("a", 0, (24,), (1,))}
    yield "halves that do not overlap", {"a": w[:3], "b": w[3:]}, {}
    yield "halves that do", {"a": w[:4], "b": w[2:]}, {}
    yield "equal values, own memory", {"a": w, "b": w.clone()}, {}
    yield "other dtype over the same bytes", {"a": w, "b": w.view(torch.int32)}, {}
    yield "empty", {"a": torch.empty(0), "b": torch.empty(0)}, {}
    z = torch.complex(w, -w)
    yield "conjugate", {"a": z, "b": z.conj()}, {}
    yield "negated", {"a": z.imag, "b": z.conj().imag}, {}


@pytest.mark.parametrize(("state", "ties"), [pytest.param(s, t, id=i) for i, s, t in views()])
def test_ties_of_a_state_dict(state, ties):
    weights = Weights.from_state_dict(state)
    assert weights.ties == ties
    assert [w.name for w in weights] == [name for name in state if name not in ties]
    restored = compress(weights, EXACT).restore()
    assert set(restored) == set(state)
    for name, tensor in state.items():
        assert torch.equal(restored[name], tensor.detach().resolve_conj())
    for name, tie in ties.items():
        assert restored[name].untyped_storage().data_ptr() == restored[tie.of].untyped_storage().data_ptr()


class Translator(nn.Module):
    """Source and target share one table, the target table is the softmax."""

    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(11, 4)
        self.target = nn.Embedding(11, 4)
        self.target.weight = self.source.weight
        self.softmax = nn.Linear(4, 11)
        self.softmax.weight = self.target.weight


TIES = {
    "target.weight": same("source.weight", torch.empty(11, 4)),
    "softmax.weight": same("source.weight", torch.empty(11, 4)),
}


def test_tied_parameters_of_a_module():
    assert Weights.from_module(Translator()).ties == TIES


def test_ties_lost_by_copying_are_found_in_the_module():
    module = Translator()
    copied = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert Weights.from_state_dict(copied).ties == {}
    assert Weights.from_state_dict(copied, module=module).ties == TIES


def test_copies_with_wrapped_names_are_tied_too():
    module = Translator()
    copied = {f"_orig_mod.{name}": tensor.clone() for name, tensor in module.state_dict().items()}
    ties = Weights.from_state_dict(copied, module=torch.compile(module, backend="eager")).ties
    assert {name: tie.of for name, tie in ties.items()} == {
        "_orig_mod.target.weight": "_orig_mod.source.weight",
        "_orig_mod.softmax.weight": "_orig_mod.source.weight",
    }


def test_copies_that_differ_are_not_tied():
    module = Translator()
    copied = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    copied["target.weight"][0, 0] += 1
    assert Weights.from_state_dict(copied, module=module).ties == {
        "softmax.weight": same("source.weight", torch.empty(11, 4))
    }


def test_a_copy_that_other_tensors_are_tied_to_is_stored():
    module = Translator()
    first, second = (module.source.weight.detach().clone() for _ in range(2))
    state = {"source.weight": first, "target.weight": second, "first_row": second[0], "softmax.bias": torch.ones(11)}
    weights = Weights.from_state_dict(state, module=module)
    assert weights.ties == {"first_row": Tie("target.weight", 0, (4,), (1,))}
    restored = compress(weights, EXACT).restore()
    assert all(torch.equal(restored[name], tensor) for name, tensor in state.items())


def test_a_submodule_called_module_is_not_taken_for_a_wrapper():
    module = nn.Linear(2, 2)
    module.module = nn.Linear(2, 2)
    with torch.no_grad():
        module.module.weight.copy_(module.weight)
    assert Weights.from_module(module).ties == {}


def test_a_tied_tensor_keeps_its_tie_through_lossy_methods():
    state = compress(Translator(), "paper-transformer").restore()
    assert state["source.weight"].data_ptr() == state["target.weight"].data_ptr() == state["softmax.weight"].data_ptr()
