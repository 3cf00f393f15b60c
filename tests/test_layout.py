"""The packages of the library: no name of a package hides one of its modules."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import pytest

import lightning_compress

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lightning_compress.__path__, prefix="lightning_compress.")
    if not module.name.endswith(".__main__")  # importing it runs the command
)


@pytest.fixture(scope="module", autouse=True)
def _everything_imported():
    for name in MODULES:
        import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_a_package_has_its_modules_under_their_own_names(name):
    package, _, attribute = name.rpartition(".")
    assert getattr(sys.modules[package], attribute) is sys.modules[name]
