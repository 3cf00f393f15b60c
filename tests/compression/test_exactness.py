"""Constants are kept exactly by every plan unless a rule names them, count for no method, and the file says why."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from torch import nn

from lightning_compress import Half, Interval, Plan, Prune, Rule, compress
from lightning_compress.archive import Archive
from lightning_compress.compression import is_made_from, payloads_of, why_exact, with_reasons_of
from lightning_compress.messages import log_once as log_once_module
from lightning_compress.plan import PRESETS
from lightning_compress.quantize import KMeans, Raw
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.model_parts import model_patterns
from lightning_compress.search.sensitivity.layers.groups import grouped
from lightning_compress.weights import Weights


class Model(nn.Module):
    """A network, and buffers of which most values would be pruned."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(9, 40), nn.BatchNorm1d(40), nn.Linear(40, 9))
        self.schedule = nn.Module()
        self.schedule.register_buffer("betas", torch.linspace(1e-4, 2e-2, 500) ** 2)
        self.schedule.register_buffer("bias", torch.rand(30) * 1e-3)
        self.register_buffer("seen", torch.tensor(12345.0))
        self.net[1].running_mean += 0.001


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model()


BUFFERS = ("net.1.running_mean", "net.1.running_var", "schedule.betas", "schedule.bias", "seen")


def restored(source, plan):
    """Name → tensor after its methods, without coding it."""
    weights = Weights.of(source)
    payloads = payloads_of(weights, Plan.resolve(plan), {})
    return {weight.name: payload.restore() for weight, payload in zip(weights, payloads, strict=True)}


def changed(model, plan):
    """Names of the tensors that a plan changes."""
    return {name for name, tensor in restored(model, plan).items() if not torch.equal(tensor, model.state_dict()[name])}


def test_presets_and_plans_for_everything_keep_buffers(model):
    rest = Rule("*", Half(), optional=True)
    plans = {
        **{name: plan for name, plan in PRESETS.items() if name != "exact"},
        "everything": Plan(Rule("*", KMeans(2, scope="model"))),
        "classes": Plan(Rule("*", Prune(0.9), by="class")),
        "a module": Plan(Rule("schedule.*", Prune(0.9)), rest),
        "all biases": Plan(Rule("*.bias", Prune(0.9)), rest),
        "any name": Plan(Rule("*.*", Interval(2)), Rule("?een*x", Half(), optional=True), rest),
    }
    for case, plan in plans.items():
        with naming(case):
            found = changed(model, plan)
            assert found
            assert not found & set(BUFFERS)
            assert plan.overruled(Weights.from_module(model)) == dict.fromkeys(BUFFERS, "buffer")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.betas", {"schedule.betas"}),
        ("schedule.bet?s", {"schedule.betas"}),
        ("*running_*", {"net.1.running_mean", "net.1.running_var"}),
        ("schedule.bias", {"schedule.bias"}),
        ("*schedule.b*", {"schedule.betas", "schedule.bias"}),
        ("seen", {"seen"}),
    ],
)
def test_a_rule_that_names_a_buffer_treats_it(model, pattern, expected):
    buffers = Weights.from_module(model)
    assert changed(model, Plan(Rule(pattern, Prune(1.0)))) & set(BUFFERS) == expected
    rule, rest = Rule(pattern, Half()), Rule("net.*", Raw())
    assigned = dict(zip((w.name for w in buffers), Plan(rest, rule).assign(buffers), strict=True))
    assert {name for name, each in assigned.items() if each == rule} == expected


def test_rules_single_out_names():
    singled_out = {
        ("*.betas", "net.betas"): True,
        ("betas", "betas"): True,
        ("betas", "_orig_mod.betas"): True,
        ("*running_*", "norm.running_mean"): True,
        ("*norm*", "norm.running_mean"): False,
        ("norm*mean", "norm.running_mean"): True,
        ("*", "betas"): False,
        ("?????", "betas"): False,
        ("net.*", "net.betas"): False,
        ("*.*", "net.betas"): False,
        ("n*", "net.betas"): False,
        ("*.weight", "conv.weight"): False,
        ("*weight*", "conv.weight"): False,
        ("conv.*", "conv.weight"): False,
        ("*conv.weight", "dfl.conv.weight"): True,
        ("weight", "weight"): True,
        ("*.b", "net.betas"): False,
    }
    for (pattern, name), expected in singled_out.items():
        with naming((pattern, name)):
            assert Rule(pattern, Half()).singles_out([name]) is expected
    assert not Rule("betas", Half(), by="class").singles_out(["betas"])
    assert Rule("*.b", Half()).singles_out(["a.c", "a.b"])


def test_constants_count_for_no_share_no_codebook_and_no_interval(model):
    weights = {name: tensor for name, tensor in model.state_dict().items() if "net" in name and "1.r" not in name}
    for case, methods in {
        "prune": (Prune(0.5),),
        "codebook": (KMeans(4, scope="model"),),
        "all": (Interval(3),),
    }.items():
        with naming(case):
            plan = Plan(Rule("*", *methods))
            alone, together = restored(weights, plan), restored(model, plan)
            assert all(torch.equal(alone[name], together[name]) for name in weights)


def test_searches_treat_weights_alone(model):
    weights = Weights.from_module(model)
    (family,) = uniform_families(weights)
    rules = family.plan_at(family.strongest, {}).assign(weights)
    treated = {weight.name for weight, rule in zip(weights, rules, strict=True) if rule is not None}
    assert treated == {"net.1.num_batches_tracked", *dict(model.named_parameters())}
    assert not any(pattern.endswith("*.bias") for pattern in model_patterns(weights).small_parameters)
    assert {w.name for group in grouped(weights, "tensor").values() for w in group}.isdisjoint(BUFFERS)


def test_why_each_tensor_is_exact(model):
    plan = Plan(Rule("net.0.*", Half()), Rule("net.2.*", Raw()), Rule("sched*", Half()), Rule("*.running_mean", Half()))
    assert why_exact(compress(model, plan).manifest) == {
        "net.1.weight": "no rule",
        "net.1.bias": "no rule",
        "net.1.running_var": "no rule",
        "net.1.num_batches_tracked": "dtype int64",
        "net.2.weight": "the plan keeps it",
        "net.2.bias": "the plan keeps it",
        "schedule.betas": "buffer",
        "schedule.bias": "buffer",
        "seen": "no rule",
    }


def test_the_reason_survives_the_file(model, tmp_path):
    compress(model, "half").save(tmp_path / "m.safetensors")
    found = why_exact(Archive.open(tmp_path / "m.safetensors").manifest)
    assert found == {**dict.fromkeys(BUFFERS, "buffer"), "net.1.num_batches_tracked": "dtype int64"}


def test_a_file_records_which_tensors_of_a_state_dict_are_buffers(model):
    manifest = compress(model, "half").manifest
    bare = Weights.from_state_dict(model.state_dict())
    assert "schedule.bias" not in {weight.name for weight in bare if weight.reason}
    known = with_reasons_of(bare, manifest)
    assert {weight.name for weight in known if weight.reason} == set(BUFFERS)
    assert is_made_from(manifest, model.state_dict())
    assert not is_made_from(manifest, model.state_dict() | {"further": torch.ones(1)})
    assert not is_made_from(manifest, model.state_dict() | {"seen": torch.ones(())})


def test_guesses_and_large_buffers_are_logged_once(caplog):
    log_once_module.log_once.cache_clear()
    torch.manual_seed(0)
    state = {"net.weight": torch.randn(9, 9), "rope.inv_freq": torch.rand(9), "norm.running_var": torch.rand(9)}
    state |= {"scale": torch.tensor(0.3), "criterion.weight": torch.rand(3)}
    for _ in range(2):
        compress(state, "half")
    large = nn.Linear(3, 3)
    large.register_buffer("queue", torch.randn(500, 501))
    compress(large, "half")
    guess, buffer = (record.getMessage() for record in caplog.records)
    assert guess.startswith(
        "kept exactly, as constants rather than weights: rope.inv_freq (known constant: inv_freq). To"
    )
    assert buffer.startswith("large buffers are kept exactly: queue. To compress")
