"""The packages of the library: no name of a package hides one of its modules."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import lightning_compress


def hidden_modules(package):
    """Full names of the modules below a package whose parent has something else under their name."""
    found = pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
    names = [module.name for module in found if not module.name.endswith(".__main__")]  # which would run a command
    for name in names:
        import_module(name)
    parents = {name: name.rpartition(".") for name in names}
    return [
        name
        for name, (parent, _, attribute) in parents.items()
        if getattr(sys.modules[parent], attribute) is not sys.modules[name]
    ]


def test_every_module_is_reached_under_its_own_name():
    assert hidden_modules(lightning_compress) == []


def test_a_function_named_like_its_module_is_found(tmp_path, monkeypatch):
    inner = tmp_path / "layout_example" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from layout_example.inner.measure import measure\n")
    (inner / "measure.py").write_text("def measure():\n    pass\n")
    (inner / "other.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    example = import_module("layout_example")
    try:
        assert hidden_modules(example) == ["layout_example.inner.measure"]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "layout_example"]:
            del sys.modules[name]
