"""The registry of methods: what it takes, and what it says of a class that is no method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from lightning_compress import Grid, Half, KMeans, LowRank, Plan, Rule
from lightning_compress.errors import PlanError
from lightning_compress.plan import METHODS, register
from lightning_compress.plan.contract import ROLES


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))


@dataclass(frozen=True)
class Exact:
    """A storage that is written in a few lines."""

    id: ClassVar[str] = "exact"
    role: ClassVar[str] = "store"
    lossy: ClassVar[bool] = False
    holds_zero: ClassVar[bool] = True
    label: ClassVar[str] = "exact"

    def scaled(self, factor):
        return self

    def store(self, values):
        raise NotImplementedError

    def quantize(self, values):
        return values.clone()


class Plain:
    id = "plain"


@dataclass(frozen=True)
class Half2:
    id: ClassVar[str] = "half"


@dataclass(frozen=True)
class Quantizer:
    id: ClassVar[str] = "quantizer"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True


def other(**members):
    return dataclass(frozen=True)(type("Other", (Exact,), members))


def test_a_registered_class_stands_in_plans():
    assert register(Exact) is Exact
    assert register(Exact) is Exact
    assert Plan.from_config({"rules": [{"tensors": "*", "methods": ["exact"]}]}) == Plan(Rule("*", Exact()))
    assert METHODS.with_role("store") == ("half", "raw", "exact")


def test_a_class_that_is_not_registered_is_refused_with_what_to_write():
    with pytest.raises(PlanError, match=r"is no method; register its class first: .*plan\.register\(Exact\)"):
        Rule("*", Exact())


def test_an_instance_of_another_class_of_that_id_is_refused():
    register(Exact)
    with pytest.raises(PlanError, match="is no method; register its class first"):
        Rule("*", other()())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Exact(), r"Exact\(\) is no class; register the class of a method"),
        (Plain, r"Plain is no frozen dataclass; write @dataclass\(frozen=True\)"),
        (dataclass(type("Mutable", (), {"id": "mutable"})), "Mutable is no frozen dataclass"),
        (
            Half2,
            r"Half2 is no method, it lacks role \(one of prune, .*\), lossy \(True or False\), holds_zero, ",
        ),
        (Quantizer, "it lacks holds_zero, label, scaled, takes_factors, group, fit; see docs/methods.md"),
        (other(id=""), r"it lacks id \(text\)"),
        (other(role="pack"), r"it lacks role \(one of prune, factor, quantize, store\)"),
        (other(lossy="no"), r"it lacks lossy \(True or False\)"),
        (other(id="raw"), r"method 'raw' is registered twice, by .*\.Raw and .*\.Other; give one another id"),
    ],
)
def test_a_class_that_is_no_method(method, message):
    before = dict(METHODS._registered)
    with pytest.raises(PlanError, match=message):
        register(method)
    assert METHODS._registered == before


def distribution(folder, name, value):
    """A package of one entry point, as pip leaves it."""
    info = folder / f"{value.replace(':', '-').replace('.', '-')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {info.stem}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[lightning_compress.methods]\n{name} = {value}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("entry_points", "message"),
    [
        (["no_such_module:Method"], "'new' cannot be imported from no_such_module:Method: ModuleNotFoundError"),
        (["dataclasses:dataclass"], "the entry point 'new' is dataclasses:dataclass, whose id is None"),
        (["a:A", "b:B"], "'new' is registered twice, by the entry points .*; uninstall one of them"),
    ],
)
def test_an_entry_point_that_gives_no_method(entry_points, message, tmp_path, monkeypatch):
    for value in entry_points:
        distribution(tmp_path, "new", value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PlanError, match=message):
        Plan.from_config({"rules": [{"tensors": "*", "methods": ["new"]}]})


def test_an_entry_point_cannot_replace_a_method_of_the_package(tmp_path, monkeypatch):
    distribution(tmp_path, "half", "no_such_module:Half")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert METHODS["half"] is Half
    assert list(METHODS).count("half") == 1


def test_every_role_has_a_method():
    assert all(METHODS.with_role(role) for role in ROLES)


def test_factors_meet_only_quantizers_that_take_them():
    Rule("*", LowRank(2), KMeans(4))
    with pytest.raises(PlanError, match="grid takes no factors, which low-rank makes; take another quantizer"):
        Rule("*", LowRank(2), Grid(0.1))
