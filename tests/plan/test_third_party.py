"""A quantizer of another package: found by its entry point, used like one of this package, and not needed to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from fresh_process import in_fresh_process
from quantizer_contract import TENSORS, PlanContract, TensorContract, raw_bits

from lightning_compress import Archive, Half, LowRank, Plan, Prune, Raw, Rule, compress, load
from lightning_compress.errors import PlanError
from lightning_compress.plan import METHODS
from lightning_compress.plan.table import methods_table
from lightning_compress.search.record.plan_scaling import scaled_plan
from lightning_compress.search.sensitivity.layers import Strength

PACKAGE = Path(__file__).parent / "third_party"
DOCUMENT = "rules: [{tensors: '*', methods: [{mid-rise: {step: 0.1}}, half]}]"
WEIGHTS = {"w": torch.randn(40, 30, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The package, as if it were installed, and not yet imported."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))
    monkeypatch.delitem(sys.modules, "mid_rise", raising=False)


@pytest.fixture
def mid_rise(installed):
    return METHODS["mid-rise"]


@pytest.fixture
def methods(request, mid_rise):
    return request.param(mid_rise)


def test_the_registry_lists_it_without_its_import():
    assert list(METHODS)[-1] == "mid-rise"
    assert len(METHODS) == len(list(METHODS))
    assert "mid_rise" not in sys.modules


def test_a_plan_without_it_does_not_import_it():
    Plan.resolve("paper-rnn")
    with pytest.raises(PlanError, match=r"'mid-rose' is unknown \(did you mean 'mid-rise'\?\)"):
        Plan.resolve(DOCUMENT.replace("mid-rise", "mid-rose").replace("rules: ", "{rules: ") + "}")
    assert "mid_rise" not in sys.modules


def test_yaml_and_python_make_the_same_plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(DOCUMENT, encoding="utf-8")
    plan = Plan.from_yaml(path)
    assert plan == Plan(Rule("*", METHODS["mid-rise"](0.1), Half()))
    assert plan.rules[0].quantizer == METHODS["mid-rise"](0.1)


def test_a_class_that_its_user_imports_needs_no_look_up_by_hand():
    from mid_rise import MidRise

    assert Plan(Rule("*", MidRise(0.1))).rules[0].quantizer == MidRise(0.1)


def test_it_stands_where_quantizers_stand(mid_rise):
    Rule("*", Prune(0.1), mid_rise(0.1), Half())
    Rule("*", LowRank(2), mid_rise(0.1))
    with pytest.raises(PlanError, match=r"a quantizer \(interval, .*, mid-rise\), half or raw"):
        Rule("*", Half(), mid_rise(0.1))


def test_weights_become_odd_multiples_of_half_a_step(mid_rise):
    found = compress(WEIGHTS, Plan(Rule("*", mid_rise(0.1)))).restore()["w"]
    step = 0.1 * WEIGHTS["w"].double().std(correction=0)
    torch.testing.assert_close(found.double(), ((WEIGHTS["w"].double() / step).floor() + 0.5) * step, rtol=1e-6, atol=0)


def test_plans_scale_with_it_and_layers_are_labelled_by_it(mid_rise):
    assert scaled_plan(Plan(Rule("*", mid_rise(0.1))), 2) == Plan(Rule("*", mid_rise(0.2)))
    assert Strength.of([Prune(0.2), mid_rise(0.1), Half()]).label == "prune 20 % + mid-rise 0.1 + half precision"


def test_the_table_of_methods_has_a_row_of_it(mid_rise):
    (row,) = (row for row in methods_table(METHODS.values()).splitlines() if "mid-rise" in row)
    assert row.startswith(
        "| `mid-rise` | quantize | `MidRise(step)` | Quantize weights to odd multiples of half a step"
    )


def test_what_it_quantizes_is_what_it_stores(mid_rise):
    for tensor in (TENSORS["normal torch.float32"], TENSORS["special torch.float16"]):
        fitted = mid_rise(0.1).fit([tensor])
        assert torch.equal(raw_bits(fitted.quantize(tensor)), raw_bits(fitted.store(tensor, Raw()).restore()))


CASES = {
    "alone": lambda mid_rise: (mid_rise(0.1),),
    "pruned": lambda mid_rise: (Prune(0.3), mid_rise(0.1), Half()),
    "factors": lambda mid_rise: (LowRank(2), mid_rise(0.1), Raw()),
}


@pytest.mark.parametrize("methods", CASES.values(), ids=CASES, indirect=True)
class TestTensors(TensorContract):
    pass


@pytest.mark.parametrize("methods", CASES.values(), ids=CASES, indirect=True)
class TestPlans(PlanContract):
    pass


def test_its_file_is_read_where_it_is_not_installed(mid_rise, tmp_path):
    path = tmp_path / "w.safetensors"
    archive = compress(WEIGHTS, Plan(Rule("*", mid_rise(0.1), Half())))
    archive.save(path)
    assert in_fresh_process(_load_without_the_package, path, tmp_path / "w.pt")
    assert torch.equal(torch.load(tmp_path / "w.pt", weights_only=True), archive.restore()["w"])


def _load_without_the_package(path, result):
    """Load a file and save its tensor; whether the quantizer's package was not imported and its method is unknown."""
    sys.path.remove(str(PACKAGE))
    torch.save(load(path)["w"], result)
    return "mid_rise" not in sys.modules and "mid-rise" not in METHODS


def test_reading_a_file_imports_no_entry_point(mid_rise, tmp_path, monkeypatch):
    compress(WEIGHTS, Plan(Rule("*", mid_rise(0.1)))).save(tmp_path / "w.safetensors")
    monkeypatch.setattr(METHODS, "_registered", {k: v for k, v in METHODS._registered.items() if k != "mid-rise"})
    monkeypatch.delitem(sys.modules, "mid_rise")
    assert Archive.open(tmp_path / "w.safetensors").manifest.plan["rules"][0]["methods"] == [
        {"mid-rise": {"step": 0.1}}
    ]
    load(tmp_path / "w.safetensors")
    assert "mid_rise" not in sys.modules
