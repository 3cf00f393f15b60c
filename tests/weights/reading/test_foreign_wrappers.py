"""Modules that other tools have wrapped: stored, rebuilt and compared with the checkpoint, or refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.ao.quantization as quantization
from each_case import naming
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

from lightning_compress import Plan, Raw, Rule, compress
from lightning_compress.errors import MismatchError, WeightsError
from lightning_compress.weights import Weights, load_into, match_state
from lightning_compress.weights.names import common_name, is_observer_state, prefix_lengths

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated"),
    pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions"),
    pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max"),
    pytest.mark.filterwarnings("ignore:must run observer"),
]
EXACT = Plan(Rule("*", Raw()))
BATCH = torch.linspace(-1, 1, 24).reshape(3, 8)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))


def observed(seed=0):
    module = network(seed).train()
    module.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    return quantization.prepare_qat(module)


def pruned(seed=0):
    module = network(seed)
    prune.random_unstructured(module[0], "weight", 0.5)
    return module


def with_first(change):
    def make(seed=0):
        module = network(seed)
        change(module[0])
        return module

    return make


class Wrapped(nn.Module):
    """Holds a module as DistributedDataParallel and DeepSpeed do."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, batch):
        return self.module(batch)


class Compiled(nn.Module):
    """Holds a module as torch.compile does, which takes seconds to be imported."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, batch):
        return self._orig_mod(batch)


MODULES = {
    "observed": observed,
    "pruned": pruned,
    "old weight norm": with_first(weight_norm),
    "weight norm": with_first(parametrizations.weight_norm),
    "old spectral norm": with_first(spectral_norm),
    "spectral norm": with_first(parametrizations.spectral_norm),
    "orthogonal": with_first(parametrizations.orthogonal),
    "averaged": lambda seed=0: AveragedModel(network(seed)),
    "averaged of a wrapped one": lambda seed=0: AveragedModel(Wrapped(network(seed))),
    "wrapped twice": lambda seed=0: Wrapped(Wrapped(network(seed))),
    "compiled": lambda seed=0: Compiled(network(seed)),
    "wrapped and compiled": lambda seed=0: Wrapped(Compiled(network(seed))),
}


def restored(module, folder):
    """The module's tensors from a file of its checkpoint, stored exactly."""
    torch.save({"state_dict": module.state_dict()}, folder / "m.ckpt")
    return compress(folder / "m.ckpt", EXACT).restore()


def outputs(module):
    with torch.no_grad():
        return module.eval()(BATCH)


def test_every_module_comes_back_the_same(tmp_path):
    for case, make in MODULES.items():
        with naming(case):
            module, fresh = make(), make(seed=1)
            module.train()(BATCH)
            tensors = restored(module, tmp_path)
            load_into(fresh, tensors)
            assert torch.equal(outputs(fresh), outputs(module))
            if case != "pruned":  # whose masks are stored as zeros
                assert tensors.keys() == module.state_dict().keys()
                assert all(torch.equal(tensors[name], value) for name, value in module.state_dict().items())


PLAIN = ("averaged", "averaged of a wrapped one", "wrapped twice", "compiled", "wrapped and compiled")


@pytest.mark.parametrize("kind", PLAIN)
def test_wrapped_modules_and_plain_ones_load_each_other(tmp_path, kind):
    for target in ("plain", *PLAIN):
        with naming(target):
            make = MODULES.get(target, network)
            source, module = MODULES[kind](), make(seed=1)
            load_into(module, source.state_dict())
            assert torch.equal(outputs(module), outputs(source))
            plain = network(2)
            load_into(source, plain.state_dict())
            assert torch.equal(outputs(source), outputs(plain))


def test_both_forms_of_weight_norm_load_each_other():
    for first, second in ((weight_norm, parametrizations.weight_norm), (parametrizations.weight_norm, weight_norm)):
        source, module = with_first(first)(), with_first(second)(seed=1)
        load_into(module, source.state_dict())
        assert torch.equal(outputs(module), outputs(source))


def test_wrappers_that_change_the_weights_do_not_load_plain_ones():
    for case in ("weight norm", "old weight norm", "spectral norm"):
        with naming(case), pytest.raises(MismatchError, match="In the module, not in the file"):
            load_into(MODULES[case](), network().state_dict())


def test_observers_take_the_shapes_of_the_file_and_weights_do_not():
    source = observed()
    source(BATCH)
    state = Weights.from_module(source).state_dict()
    assert state["0.weight_fake_quant.scale"].shape == (6,)
    module = observed(1)
    assert module.state_dict()["0.weight_fake_quant.scale"].shape == (1,)
    load_into(module, state)
    with pytest.raises(MismatchError, match=r"Different shapes: 0\.weight \("):
        load_into(module, state | {"0.weight": torch.zeros(2, 8)})


def test_observer_state_is_recognized_by_name():
    source = observed()
    source(BATCH)
    state = source.state_dict()
    others = {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert {name for name in state if not is_observer_state(name)} == others
    assert not any(map(is_observer_state, ["observer", "net.scale", "observers_net.weight", "a.fake_quantity.weight"]))


def test_converted_modules_are_refused_with_advice(tmp_path):
    module = observed()
    module(BATCH)
    converted = quantization.convert(copy.deepcopy(module).eval())
    state = converted.state_dict()
    torch.save({"model": state, "args": network}, tmp_path / "m.pt")
    for case, source in {"module": converted, "state dict": state, "file with code": tmp_path / "m.pt"}.items():
        with (
            naming(case),
            pytest.raises(WeightsError, match=r"'0\._packed_params.*before torch\.ao\.quantization\.convert"),
        ):
            compress(source, EXACT)


# Masks of torch.nn.utils.prune


def masked(original, mask):
    module = nn.Linear(len(original), 1, bias=False)
    module.weight.data = torch.tensor([original])
    prune.custom_from_mask(module, "weight", torch.tensor([mask]))
    return module


def same_bits(first, second):
    return torch.equal(first.view(torch.int32), second.view(torch.int32))


def test_pruned_weights_of_any_value_keep_their_bits(tmp_path):
    values = [1.0, -1.0, 0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45]
    for mask in ([1.0] * 8, [0.0] * 8, [1.0, 0.0] * 4):
        source = masked(values, mask)
        weight = source.weight.detach()
        tensors = restored(source, tmp_path)
        assert same_bits(tensors["weight"], weight)
        plain, again = nn.Linear(8, 1, bias=False), masked([0.5] * 8, [1.0] * 8)
        load_into(plain, tensors)
        load_into(again, tensors)
        again(torch.zeros(1, 8))
        assert same_bits(plain.weight.detach(), weight)
        finite = weight.isfinite()
        assert same_bits(again.weight.detach()[finite], weight[finite])
        assert torch.equal(again.weight.isnan(), weight.isnan())


def test_masks_do_not_change_the_dtype():
    state = {"w_orig": torch.ones(3, dtype=torch.float16), "w_mask": torch.tensor([1.0, 0.0, 1.0])}
    assert Weights.from_state_dict(state).state_dict()["w"].dtype == torch.float16
    state = {"w_orig": torch.ones(3), "w_mask": torch.tensor([True, False, True])}
    assert Weights.from_state_dict(state).state_dict()["w"].tolist() == [1, 0, 1]


# Names


def state_of(*names):
    return {name: torch.tensor([float(number)]) for number, name in enumerate(names)}


def test_names_match_by_what_the_wrapper_adds():
    """Names in the module, names in the file, and the position in the file of each name in the module."""
    cases = {
        "equal": (["module.a", "a"], ["a", "module.a"], [1, 0]),
        "wrapped file of a model with module": (["module.a", "a"], ["module.module.a", "module.a"], [0, 1]),
        "wrapped model with module": (["module.module.a", "module.a"], ["module.a", "a"], [0, 1]),
        "module in the middle": (["net.module.a", "net.a"], ["module.net.module.a", "module.net.a"], [0, 1]),
        "compiled in the middle": (["net._orig_mod.module.a", "net.a"], ["net.module.a", "net.a"], [0, 1]),
        "FSDP": (["a.b"], ["_fsdp_wrapped_module.a._fsdp_wrapped_module._checkpoint_wrapped_module.b"], [0]),
        "DeepSpeed": (["a", "b"], ["_forward_module.module.a", "_forward_module.module.b"], [0, 1]),
        "adapter": (
            ["base_model.model.q.lora_A.default.weight", "base_model.model.q.lora_B.default.weight"],
            ["base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight"],
            [0, 1],
        ),
        "wrapped adapter": (
            ["q.lora_A.default.weight", "q.base_layer.weight"],
            ["module.base_model.model.q.lora_A.default.weight", "module.base_model.model.q.base_layer.weight"],
            [0, 1],
        ),
    }
    for case, (live, stored, expected) in cases.items():
        with naming(case):
            matched = match_state(state_of(*live), state_of(*stored))
            assert [int(matched[name]) for name in live] == expected


def test_names_that_differ_by_more_do_not_match():
    cases = {
        "module in the middle": (["net.a"], ["net.module.a"]),
        "another adapter": (["q.lora_A.first.weight"], ["q.lora_A.weight"]),
        "a layer called default": (["q.default.weight"], ["q.weight"]),
        "adapters and no adapters": (["q.weight"], ["q.base_layer.weight", "q.lora_A.weight"]),
        "counter without a wrapper": (["a", "n_averaged"], ["a"]),
        "counter in the file": (["a"], ["a", "n_averaged"]),
    }
    for case, (live, stored) in cases.items():
        with naming(case), pytest.raises(MismatchError):
            match_state(state_of(*live), state_of(*stored))


def test_prefixes_and_common_names():
    assert prefix_lengths(["module.a", "b"]) == [0]
    assert prefix_lengths([]) == [0]
    assert prefix_lengths(["n_averaged", "module.base_model.model.a"]) == [0, 7, 24]
    assert common_name("a.parametrizations.weight.original") == "a.parametrizations.weight.original"
    assert common_name("rnn.parametrizations.weight_hh_l0.original1") == "rnn.weight_hh_l0_v"
