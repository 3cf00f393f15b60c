"""Plans: Python and YAML agree, presets fit any model, and a wrong plan tells what to write instead."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_compress import (
    Binary,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Ternary,
    compress,
)
from lightning_compress.errors import CompressionError, PlanError
from lightning_compress.plan import METHODS, PRESETS
from lightning_compress.weights import Weights

DOCUMENT = """
rules:
  - tensors: '*.bias'
    methods: [half]
  - tensors: '*embedding*'
    methods:
      - prune: {amount: 0.4, scope: class-blind}
      - interval: {bits: 4, coverage: 0.98, restore: middle}
      - half: {format: float16, rounding: nearest}
  - class: decoder.*
    methods: [{interval: {bits: 6}}]
    optional: true
  - tensors: '*'
    methods: [{prune: {amount: 0.15, scope: class-uniform}}, raw]
"""
PLAN = Plan(
    Rule("*.bias", Half()),
    Rule("*embedding*", Prune(0.4, "class-blind"), Interval(4, 0.98, "middle"), Half("float16", "nearest")),
    Rule("decoder.*", Interval(6), by="class", optional=True),
    Rule("*", Prune(0.15, "class-uniform"), Raw()),
)


def yaml_file(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_and_python_agree(tmp_path):
    path = yaml_file(tmp_path, DOCUMENT)
    assert Plan.from_yaml(path) == Plan.resolve(path) == Plan.resolve(str(path)) == PLAN
    assert Plan.from_yaml(yaml_file(tmp_path, PLAN.to_yaml())) == PLAN


def test_a_method_may_stand_with_empty_parameters():
    config = {"rules": [{"tensors": "*", "methods": [{"half": None}]}]}
    assert Plan.from_config(config) == Plan(Rule("*", Half()))


prunes = st.builds(Prune, st.floats(0, 1), st.sampled_from(["class-blind", "class-uniform", "threshold"]))
intervals = st.builds(
    Interval,
    st.integers(1, 16),
    st.floats(0, 1),
    st.sampled_from(["left", "middle", "right"]),
    st.sampled_from(["model", "class", "tensor"]),
)
shares = st.sampled_from([0, 0.005, 0.25, 1])
quantizers = st.one_of(
    intervals,
    st.builds(KMeans, st.integers(1, 4096), st.sampled_from(["model", "class"]), st.just("quantile"), shares),
    st.builds(Logarithmic, st.integers(2, 6), st.sampled_from(["tensor", "row"]), shares),
    st.builds(Ternary, st.sampled_from(["tensor", "row"]), shares),
    st.builds(GroupWise, st.integers(2, 8), st.integers(1, 512), st.sampled_from([8, 16]), shares),
)
factorings = st.builds(LowRank, st.integers(1, 1024)) | st.builds(LowRank, energy=st.floats(0.01, 0.99))
storages = st.sampled_from([Raw(), Half(), Half(rounding="nearest"), Half("float16", "nearest")])
method_lists = st.tuples(st.none() | prunes | factorings, st.none() | quantizers, st.none() | storages).map(
    lambda three: [method for method in three if method is not None]
)


@st.composite
def plans(draw):
    letters = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True))
    rules = [
        Rule(f"{letter}*", *draw(method_lists.filter(bool)), by=draw(st.sampled_from(["name", "class"])),
             optional=draw(st.booleans()))
        for letter in letters
    ]  # fmt: skip
    return Plan(*rules)


@given(plans())
def test_plain_data_makes_an_equal_plan(plan):
    assert Plan.from_config(plan.to_config()) == plan
    assert Plan.from_config(json.loads(json.dumps(plan.to_config()))) == plan
    assert Plan.from_config(yaml.safe_load(plan.to_yaml())) == plan


def test_equal_plans_are_equal_and_hash_alike():
    again = Plan.from_config(PLAN.to_config())
    assert again == PLAN
    assert hash(again) == hash(PLAN)
    assert Plan(*PLAN.rules[:-1]) != PLAN
    assert "Rule(" in repr(PLAN)


def test_every_method_says_what_it_is():
    assert set(METHODS) == {
        "prune", "low-rank", "interval", "grid", "k-means", "logarithmic", "binary", "ternary", "group-wise", "half",
        "raw",
    }  # fmt: skip
    assert {name for name, method in METHODS.items() if not method.lossy} == {"raw"}


MODELS = {
    "convolutions and norms": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)
    ),
    "recurrent": lambda: nn.LSTM(5, 6, 2),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "one tensor": lambda: {"w": torch.randn(7)},
    "no floats": lambda: {"n": torch.arange(7)},
    "nothing": lambda: {},
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_presets_work_on_any_model(name, make):
    torch.manual_seed(0)
    model = make()
    state = model if isinstance(model, dict) else model.state_dict()
    restored = compress(model, name).restore()
    assert {n: t.shape for n, t in restored.items()} == {n: t.shape for n, t in state.items()}
    assert all(torch.equal(restored[n], t) for n, t in state.items() if "running" in n or not t.is_floating_point())


def test_presets_are_what_the_paper_says():
    assert Plan.resolve("half").rules[-1].methods == (Half(),)
    assert Plan.resolve("paper-transformer").rules[-1].methods == (
        Prune(0.15, "class-uniform"), Interval(6, 0.98, "middle", "model"), Half("bfloat16", "truncate"),
    )  # fmt: skip
    assert Plan.resolve("paper-rnn").rules[-1].methods == (
        Prune(0.4, "class-blind"), Interval(4, 0.98, "middle", "model"), Half("bfloat16", "truncate"),
    )  # fmt: skip


WEIGHTS = Weights.from_state_dict(
    {"encoder.0.weight": torch.ones(2), "encoder.0.bias": torch.ones(2), "head.weight": torch.ones(3)}
)


def test_the_first_rule_that_matches_takes_a_tensor():
    bias, encoder, rest = Rule("*.bias", Raw()), Rule("encoder*", Half(), by="class"), Rule("*", Prune(0.1))
    assert Plan(bias, encoder, rest).assign(WEIGHTS) == [encoder, bias, rest]
    assert Plan(bias, encoder).assign(WEIGHTS) == [encoder, bias, None]


def test_a_rule_finds_a_tied_tensor_by_each_of_its_names():
    table = torch.ones(3)
    weights = Weights.from_state_dict({"source.weight": table, "softmax.weight": table})
    rule = Rule("softmax*", Half())
    assert Plan(rule).assign(weights) == [rule]


def test_a_rule_finds_a_tied_tensor_by_each_of_its_classes():
    table = torch.ones(3)
    weights = Weights.from_state_dict({"target_embedding.weight": table, "softmax.weight": table})
    first, second = Rule("target_embedding", Half(), by="class"), Rule("softmax", Raw(), by="class")
    assert Plan(second).assign(weights) == [second]
    assert Plan(first, second).assign(weights) == [first]


def test_patterns_meet_names_with_and_without_wrappers():
    weights = Weights.from_state_dict({"_orig_mod.net.weight": torch.ones(2)})
    for pattern in ("net.*", "_orig_mod.net.*"):
        assert Plan(Rule(pattern, Half())).assign(weights)[0] is not None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            Rule("*.gias", Half()),
            r"'\*\.gias' selects none of the model's 3 tensors.*encoder\.0\.weight.*optional=True",
        ),
        (Rule("encoder.0.wait", Half()), "did you mean 'encoder.0.weight'"),
        (Rule("decoder.*", Half(), by="class"), r"selects none of the model's 2 classes.*they are encoder\.0, head"),
    ],
)
def test_a_rule_that_finds_nothing_is_refused_unless_optional(rule, message):
    with pytest.raises(PlanError, match=message):
        Plan(rule, Rule("*", Raw())).assign(WEIGHTS)
    optional = Rule(rule.pattern, *rule.methods, by=rule.by, optional=True)
    assert Plan(optional).assign(WEIGHTS) == [None, None, None]


@pytest.mark.parametrize(
    "rules",
    [
        (Rule("*", Half()), Rule("*.bias", Raw())),
        (Rule("*.bias", Half()), Rule("*.bias", Raw())),
        (Rule("?*", Half()), Rule("*", Raw())),
        (Rule("a*", Half()), Rule("b*", Half()), Rule("*c", Half()), Rule("a*c", Raw())),
        (Rule("encoder*", Half()), Rule("*coder*", Half()), Rule("decoder.*", Raw())),
        (Rule("?", Half()), Rule("??*", Half()), Rule("*", Raw())),
        (Rule("*", Half(), by="class"), Rule("*.bias", Raw())),
        (Rule("*", Half()), Rule("encoder.*", Raw(), by="class")),
        (Rule("encoder*", Half(), by="class"), Rule("encoder.0", Raw(), by="class")),
        (Rule("*", Half(), optional=True), Rule("*.bias", Raw(), optional=True)),
    ],
)
def test_a_hidden_rule_is_refused(rules):
    with pytest.raises(
        PlanError, match=r"can never apply: the rules before it take every .* Put it before them, or remove"
    ):
        Plan(*rules)


@pytest.mark.parametrize(
    "rules",
    [
        (Rule("*.bias", Raw()), Rule("*", Half())),
        (Rule("a*", Half()), Rule("*a", Raw())),
        (Rule("encoder*", Half(), by="class"), Rule("encoder*", Raw())),
        (Rule("encoder*", Half()), Rule("encoder*", Raw(), by="class")),
        (Rule("a*", Half()), Rule("b*", Half(), by="class"), Rule("*", Raw())),
    ],
)
def test_a_rule_that_something_is_left_to_is_taken(rules):
    assert Plan(*rules).rules == rules


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Plan(), r"at least one rule, such as Rule\('\*', Half\(\)\)"),
        (lambda: Plan(Half()), r"made of rules, got Half: write Rule\('\*', …\)"),
        (lambda: Plan([Rule("*", Half())]), "made of rules, got list"),
        (lambda: Rule("*"), r"'\*' has no method; to keep the tensors exactly, write Raw\(\)"),
        (lambda: Rule("", Half()), r"pattern is '', expected text such as '\*\.bias'"),
        (lambda: Rule(3, Half()), "pattern is 3, expected text"),
        (lambda: Rule("*", Half), r"is no method; write Half\(…\)"),
        (lambda: Rule("*", 0.15), "0.15 is no method; expected one of prune, low-rank, interval, .*half, raw"),
        (
            lambda: Rule("*", Half(), Prune(0.1)),
            "methods half, prune; write at most one of each kind, in the order prune",
        ),
        (lambda: Rule("*", Interval(4), Prune(0.1)), "methods interval, prune; write at most one"),
        (lambda: Rule("*", Half(), Interval(4)), "methods half, interval; write at most one"),
        (lambda: Rule("*", KMeans(4), Interval(4)), "methods k-means, interval; write at most one of each kind"),
        (lambda: Rule("*", KMeans(4), LowRank(4)), "methods k-means, low-rank; write at most one"),
        (lambda: Rule("*", KMeans), r"is no method; write KMeans\(…\)"),
        (
            lambda: Rule("*", Prune(0.1), LowRank(4)),
            "low-rank cannot hold the zeros that prune makes; leave one of",
        ),
        (lambda: Rule("*", Prune(0.1), Binary()), "binary cannot hold the zeros .* take a quantizer that holds zeros"),
        (lambda: Rule("*", Half(), Raw()), "methods half, raw; write at most one of each kind"),
        (lambda: Rule("*", Prune(0.1), Prune(0.2)), "methods prune, prune; write at most one"),
        (lambda: Rule("*", Half(), by="layer"), "by is 'layer', write 'name' or 'class'"),
        (lambda: Rule("*", Half(), optional="no"), "optional is 'no', write true or false"),
    ],
)
def test_wrong_plans_in_python(build, message):
    with pytest.raises(PlanError, match=message) as caught:
        build()
    assert isinstance(caught.value, CompressionError)


def rule(methods, **more):
    return {"rules": [{"tensors": "*", "methods": methods, **more}]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "a plan is None, expected a mapping with the keys rules"),
        ([], "a plan is .*, expected a mapping with the keys rules"),
        ({}, "rules is None, expected a list of rules"),
        ({"rules": {"tensors": "*"}}, "rules is .*, expected a list of rules"),
        ({"rules": []}, "at least one rule"),
        ({"rule": []}, r"unknown key 'rule' \(did you mean 'rules'\?\); it knows rules"),
        ({"rules": ["half"]}, "a rule is 'half', expected a mapping with the keys"),
        ({"rules": [{"methods": ["half"]}]}, r"no selector; write either 'tensors: PATTERN' or 'class: PATTERN'"),
        ({"rules": [{"tensors": "*", "class": "*", "methods": ["half"]}]}, "write either 'tensors: PATTERN' or"),
        ({"rules": [{"tensor": "*", "methods": ["half"]}]}, r"unknown key 'tensor' \(did you mean 'tensors'\?\)"),
        ({"rules": [{"tensors": ["a", "b"], "methods": ["half"]}]}, r"pattern is \['a', 'b'\], expected text"),
        (rule([]), r"has no method; to keep the tensors exactly, write Raw\(\)"),
        (rule("half"), r"methods is 'half', expected a list such as"),
        (rule(None), r"methods is None, expected a list such as"),
        (rule({"half": {}}), "expected a list such as"),
        (
            rule(["halv"]),
            r"method 'halv' is unknown \(did you mean 'half'\?\); there are prune, low-rank, interval, .*half, raw",
        ),
        (rule([3]), r"a method is 3, expected its name"),
        (
            rule([{"prune": {"amount": 0.1}, "half": {}}]),
            "a method is .*, expected its name, or its name with parameters",
        ),
        (rule([{"prune": 0.15}]), "method 'prune' is 0.15, expected a mapping with the keys amount, scope"),
        (rule([{"prune": 0}]), "method 'prune' is 0, expected a mapping with the keys amount, scope"),
        (rule(["prune"]), r"method 'prune' has no amount; write prune: \{amount: …\}"),
        (rule([{"interval": {"coverage": 0.9}}]), r"method 'interval' has no bits; write interval: \{bits: …\}"),
        (rule([{"prune": {"ammount": 0.1}}]), r"unknown key 'ammount' \(did you mean 'amount'\?\)"),
        (rule([{"prune": {"amount": 15}}]), "for 15 % write 0.15"),
        (rule([{"prune": {"amount": float("nan")}}]), "got nan"),
        (rule([{"interval": {"bits": 0}}]), "bits is 0, expected a whole number from 1 to 16"),
        (rule([{"interval": {"bits": 17}}]), "bits is 17, expected"),
        (rule([{"interval": {"bits": "4"}}]), "bits is '4', expected"),
        (rule([{"interval": {"bits": True}}]), "bits is True, expected"),
        (rule([{"interval": {"bits": 4, "coverage": 1.2}}]), "coverage is 1.2, expected a fraction from 0 to 1"),
        (rule([{"interval": {"bits": 4, "coverage": -1}}]), "coverage is -1"),
        (rule([{"interval": {"bits": 4, "coverage": float("nan")}}]), "coverage is nan"),
        (rule(["k-means"]), r"method 'k-means' has no clusters; write k-means: \{clusters: …\}"),
        (rule([{"kmeans": {"clusters": 4}}]), r"method 'kmeans' is unknown \(did you mean 'k-means'\?\)"),
        (
            rule([{"group-wise": {"bits": 4, "group": 64}}]),
            "unknown key 'group'.*knows bits, outliers, scale_bits, size",
        ),
        (rule(["low-rank"]), "rank is None and energy is None, expected exactly one of them"),
        (rule([{"prune": {"amount": 0.1}}, "binary"]), "binary cannot hold the zeros that prune makes"),
        (rule([{"half": {"format": "fp16"}}]), "write one of bfloat16, float16"),
        (rule(["half", {"prune": {"amount": 0.1}}]), "in the order prune, low-rank, a quantizer .*, half or raw"),
        (rule(["half"], optional="false"), "optional is 'false', write true or false"),
        (rule(["half"], by="class"), "unknown key 'by'"),
    ],
)
def test_wrong_plans_in_plain_data(config, message, tmp_path):
    with pytest.raises(PlanError, match=message):
        Plan.from_config(config)
    path = yaml_file(tmp_path, yaml.safe_dump(config))
    with pytest.raises(PlanError, match=f"^{path}: .*"):
        Plan.from_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [", "is not YAML"),
        ("rules:\n  - tensors: *.bias\n    methods: [half]", r"is not YAML.*in quotes: tensors: '\*\.bias'"),
        ("rules: !!python/object/apply:os.system [id]", "has the tag .*python.object.apply:os.system"),
        ("", "a plan is None, expected a mapping"),
    ],
)
def test_files_that_hold_no_plan(tmp_path, text, message):
    with pytest.raises(PlanError, match=f"(?s){message}"):
        Plan.resolve(yaml_file(tmp_path, text))


def test_yaml_text_in_braces():
    assert Plan.resolve("{'rules': [{'tensors': '*', 'methods': ['half']}]}") == Plan(Rule("*", Half()))
    with pytest.raises(PlanError, match=r"unknown key 'rule'.*did you mean 'rules'"):
        Plan.resolve("{rule: []}")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "plan.yml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="is not YAML"):
        Plan.resolve(path)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("no-such.yaml", "cannot read the plan no-such.yaml: No such file or directory"),
        (
            "paper-transformr",
            r"did you mean 'paper-transformer'\?\); presets are exact, safe, ",
        ),
        ("xyzzy", "no preset and no file is called 'xyzzy'; presets are exact"),
        (3, "a Plan, a preset's name or a YAML path, got int"),
        (None, "got NoneType"),
        (Half(), "got Half"),
    ],
)
def test_what_is_no_plan(plan, message):
    with pytest.raises(PlanError, match=message):
        Plan.resolve(plan)


def test_a_folder_is_no_plan(tmp_path):
    with pytest.raises(PlanError, match="no preset and no file"):
        Plan.resolve(tmp_path)
