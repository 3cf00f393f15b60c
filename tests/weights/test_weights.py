"""Which entries of a state dict are stored: every kind of tensor, except the state of metrics and excluded names."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from collections import namedtuple

import numpy as np
import pytest
import torch
import torchmetrics
from blake3 import blake3
from torch import nn
from torch.nn.utils import prune

from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights, strip_wrappers


def names(weights):
    return [weight.name for weight in weights]


class Extra(nn.Module):
    def get_extra_state(self):
        return {"scale": 3}

    def set_extra_state(self, state):
        pass


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.objective = nn.CrossEntropyLoss(weight=torch.ones(2))
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=2)
        self.accuracy.persistent(True)
        self.several = torchmetrics.MetricCollection({"mean": torchmetrics.MeanMetric()})
        self.several.persistent(True)
        self.teacher = nn.Linear(3, 2)
        self.extra = Extra()

    def compression_exclude(self):
        return ["teacher.*", "nothing.of.this.name"]

    def compression_assets(self):
        return {"vocabulary": b"a\nb\n"}


STORED = ["net.weight", "net.bias", "objective.weight"]


def test_metrics_and_excluded_tensors_are_left_out():
    weights = Weights.from_module(Model())
    assert names(weights) == STORED
    assert set(weights.excluded) == set(Model().state_dict()) - set(STORED)
    assert weights.assets == {"vocabulary": b"a\nb\n"}


def test_the_same_through_torch_compile_and_data_parallel():
    model = Model()
    wrapped = Weights.from_module(nn.DataParallel(torch.compile(model, backend="eager")))
    assert [strip_wrappers(name) for name in names(wrapped)] == STORED
    assert wrapped.class_path == Weights.from_module(model).class_path == f"{__name__}.Model"
    assert wrapped.assets == {"vocabulary": b"a\nb\n"}


def test_nothing_of_a_bare_state_dict_is_left_out_for_its_name():
    given = ["net.weight", "criterion.weight", "model.loss_fn.w", "metrics.f1.total", "loss"]
    assert names(Weights.from_state_dict({name: torch.ones(2) for name in given})) == given


def test_exclude_patterns():
    weights = Weights.from_module(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), exclude=["*.bias", "1.?eight"])
    assert names(weights) == ["0.weight"]
    assert weights.excluded == ("0.bias", "1.weight", "1.bias")


def test_an_exclude_pattern_that_matches_nothing_is_refused():
    with pytest.raises(WeightsError, match=r"'\*\.scale' matches none of the 2 tensors: remove or correct it"):
        Weights.from_module(nn.Linear(2, 2), exclude=["*.scale"])


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("compression_exclude", "net.*", r"expected a list of patterns such as \['teacher\.\*'\]"),
        ("compression_exclude", 3, r"expected a list of patterns"),
        ("compression_exclude", [b"x"], r"holds b'x', expected patterns"),
        ("compression_assets", ["a"], r"gave a list, expected name → bytes"),
        ("compression_assets", {"a": "text"}, r"'a' → str, expected name → bytes: write text\.encode\(\)"),
    ],
)
def test_wrong_answers_of_the_optional_methods(method, value, message):
    module = nn.Linear(2, 2)
    setattr(module, method, lambda: value)
    with pytest.raises(WeightsError, match=message):
        Weights.from_module(module)


def test_a_single_string_is_refused_as_list_of_patterns():
    with pytest.raises(WeightsError, match="expected a list of patterns"):
        Weights.from_module(nn.Linear(2, 2), exclude="*.bias")


Pair = namedtuple("Pair", "a b")


def test_hyper_parameters_are_stored_exactly_or_left_out_by_name():
    module = nn.Linear(2, 2)
    module.hparams = {
        "size": 3,
        "rate": np.float64(0.5),
        "betas": (0.9, 0.98),
        "nested": {"layers": [{"sizes": (1, 2)}], "none": None},
        "pair": {"deep": Pair(1, 2)},
        "path": torch.device("cpu"),
        "array": np.ones(2),
        "infinite": float("inf"),
        "by_number": {1: "a"},
        "layer": nn.ReLU(),
        5: "no name",
    }
    weights = Weights.from_module(module)
    assert list(weights.hyper_parameters) == ["size", "rate", "betas", "nested", "infinite", "by_number"]
    assert all(value == module.hparams[name] for name, value in weights.hyper_parameters.items())
    assert type(weights.hyper_parameters["rate"]) is np.float64
    assert type(weights.hyper_parameters["nested"]["layers"][0]["sizes"]) is tuple
    assert weights.hyper_parameters_left_out == ("pair", "path", "array", "layer", "5")


def test_they_are_copies():
    module = nn.Linear(2, 2)
    module.hparams = {"names": ["a"]}
    weights = Weights.from_module(module)
    module.hparams["names"].append("b")
    assert weights.hyper_parameters == {"names": ["a"]}


def test_notes_of_lightning_cli_are_kept():
    module = nn.Linear(2, 2)
    module.hparams = {"size": 3, "_class_path": "models.Model", "_instantiator": "lightning.pytorch.cli.other"}
    assert Weights.from_module(module).hyper_parameters == module.hparams


def test_hyper_parameters_in_a_namespace():
    module = nn.Linear(2, 2)
    module.hparams = Namespace(size=3)
    assert Weights.from_module(module).hyper_parameters == {"size": 3}


def pruned():
    module = nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 2))
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    prune.random_unstructured(module[1], "weight_hh_l0", amount=3)
    return module


def test_masks_of_torch_prune_are_merged_into_their_weights():
    module = pruned()
    weights = {w.name: w.tensor for w in Weights.from_module(module)}
    expected = {k: v for k, v in module.state_dict().items() if not k.endswith(("_orig", "_mask"))}
    expected |= {"0.weight": module[0].weight, "1.weight_hh_l0": module[1].weight_hh_l0}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert int((weights["0.weight"] == 0).sum()) == 6


def test_names_that_only_resemble_masks_are_kept():
    state = {"a_orig": torch.ones(2), "b_mask": torch.ones(2)}
    assert names(Weights.from_state_dict(state)) == ["a_orig", "b_mask"]


MODULES = {
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "attention with sizes of its own": lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
    "convolutions and norms": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose1d(2, 2, 3), nn.GroupNorm(1, 2), nn.LayerNorm(2)
    ),
    "bag": lambda: nn.EmbeddingBag(5, 2),
    "recurrent": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)),
    "compiled": lambda: torch.compile(nn.Linear(3, 2), backend="eager"),
    "half": lambda: nn.Linear(3, 2).half(),
    "complex": lambda: nn.Linear(3, 2, dtype=torch.complex64),
    "no weights": lambda: nn.ReLU(),
}


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_every_entry_of_a_module_is_a_weight(make):
    torch.manual_seed(0)
    module = make()
    weights = Weights.from_module(module)
    assert names(weights) == list(module.state_dict())
    assert all(torch.equal(weight.tensor, module.state_dict()[weight.name]) for weight in weights)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": 3}, "'a' is of type int, expected a name and a tensor"),
        ({1: torch.ones(2)}, "entry 1 is of type Tensor, expected a name and a tensor"),
        ({"epoch": 3, "model": {}}, "the path of a checkpoint that has one under 'state_dict'"),
        ({"a": torch.empty(2, device="meta")}, "'a' is on the meta device and has no values: materialize it"),
        ({"a": torch.ones(2, 2).to_sparse()}, r"'a' has layout torch.sparse_coo .*to_dense\(\)"),
        (nn.LazyLinear(2).state_dict(), "'weight' is not initialized yet .* run the module on one batch"),
    ],
)
def test_the_error_names_the_entry_that_cannot_be_stored(state, message):
    with pytest.raises(WeightsError, match=message):
        Weights.from_state_dict(state)


@pytest.mark.parametrize("source", [3, None, [torch.ones(2)], torch.ones(2)])
def test_other_sources_are_refused(source):
    with pytest.raises(WeightsError, match="give a state dict, a module or the path of a checkpoint"):
        Weights.of(source)


def test_the_fingerprint_depends_on_content_alone():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int8)}
    elsewhere = {name: tensor.clone().t().contiguous().t() for name, tensor in state.items()}
    fingerprint = Weights.from_state_dict(state).fingerprint
    assert Weights.from_state_dict(elsewhere).fingerprint == fingerprint
    changed = [
        {"a": state["a"]},
        {"b": state["b"], "a": state["a"]},
        {"a": state["a"], "c": state["b"]},
        {"a": state["a"].reshape(3, 2), "b": state["b"]},
        {"a": state["a"].view(torch.int32), "b": state["b"]},
        {"a": -state["a"], "b": state["b"]},
        {"a": state["a"], "b": state["b"], "c": state["b"]},
    ]
    others = [Weights.from_state_dict(other).fingerprint for other in changed]
    assert len({fingerprint, *others}) == len(changed) + 1


def test_a_fingerprint_of_an_older_file_is_a_sha_256_of_the_same_content():
    weights = Weights.from_state_dict({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int8)})
    content = b"a\0torch.float32\0[2, 3]\0" + torch.arange(6.0).numpy().tobytes() + b"b\0torch.int8\0[2]\0\1\1{}"
    older = hashlib.sha256(content).hexdigest()
    assert weights.fingerprint_like(older) == older
    assert weights.fingerprint == f"blake3:{blake3(content).hexdigest(16)}" == weights.fingerprint_like("blake3:")


def test_wrappers_are_stripped_from_names():
    for name in (
        "_orig_mod.a.b",
        "module.a.b",
        "module._orig_mod.a.b",
        "_forward_module.a.b",
        "a._fsdp_wrapped_module.b",
        "a._checkpoint_wrapped_module.b",
        "a.b",
    ):
        assert strip_wrappers(name) == "a.b"
    assert strip_wrappers("a.module.b") == "a.module.b"
    assert strip_wrappers("module") == "module"
