"""The documentation of methods: its tables are those of the registry, and its code runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lightning_compress import Plan, Prune
from lightning_compress.plan import METHODS, register
from lightning_compress.plan.contract import ROLES
from lightning_compress.plan.table import methods_table

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = Path(__file__).parent / "third_party" / "mid_rise.py"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))


def test_the_table_in_the_plans_has_every_method():
    names = [name for role in ROLES for name in METHODS.with_role(role)]
    table = methods_table(METHODS[name] for name in names)
    text = (DOCS / "plans.md").read_text(encoding="utf-8")
    assert all(row in text for row in table.splitlines())
    assert all(f"`{name}`" in text for name in METHODS)


def test_a_quantizer_of_your_own_runs_as_it_is_written(capsys, monkeypatch):
    section = (DOCS / "methods.md").read_text(encoding="utf-8").partition("## A quantizer of your own")[2]
    first, second = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert first == EXAMPLE.read_text(encoding="utf-8")
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    monkeypatch.delitem(sys.modules, "mid_rise", raising=False)
    from mid_rise import MidRise

    register(MidRise)
    names = {"MidRise": MidRise}
    exec(second, names)
    assert isinstance(names["plan"], Plan)
    assert isinstance(names["plan"].rules[0].prune, Prune)
    assert 0 < float(capsys.readouterr().out) < 16
