"""What recipes and benchmarks may import of the package, and what the wheel installs."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The overhead of logging is measured inside the callback, and files without training have steps by sensitivity and
# nothing else of a search: there is no public name for these parts.
# The fuzzing reaches into readers, to begin where the checks of the parts around them end. The replays of searches take
# a search apart, to give it scores that were measured before.
INSIDE = {"fuzz", "promise"}
INSTRUMENTED = {
    ("benchmarks/logging_overhead.py", "lightning_compress.callbacks.export.publishing"),
    ("benchmarks/training/untrained.py", "lightning_compress.search.sensitivity.bit_allocation"),
    ("benchmarks/training/untrained.py", "lightning_compress.training.shared"),
}


def _imported(source: str) -> set[str]:
    """Modules that a Python file imports, by their full names."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def _inner(modules: set[str]) -> set[str]:
    """Those of these modules that are inside a package of lightning_compress."""
    return {name for name in modules if name.startswith("lightning_compress.") and name.count(".") > 1}


def test_modules_inside_packages_are_found() -> None:
    source = "import lightning_compress.plan.rule\nfrom lightning_compress.plan import Rule\nimport numpy.linalg.x\n"
    assert _inner(_imported(source)) == {"lightning_compress.plan.rule"}


@pytest.mark.parametrize("folder", ["recipes", "benchmarks"])
def test_only_the_public_names_of_packages_are_imported(folder: str) -> None:
    files = sorted(path for path in (ROOT / folder).rglob("*.py") if INSIDE.isdisjoint(path.relative_to(ROOT).parts))
    assert files
    found = {
        (path.relative_to(ROOT).as_posix(), module)
        for path in files
        for module in _inner(_imported(path.read_text(encoding="utf-8")))
    }
    assert found - INSTRUMENTED == set()


def test_the_wheel_installs_one_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("hatchling.build", reason="hatchling is needed to build the wheel")
    monkeypatch.chdir(ROOT)
    name = build.build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        tops = {entry.split("/")[0] for entry in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lightning_compress"}


def test_the_build_configuration_names_one_package() -> None:
    """The same without hatchling, which only the build needs."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wheel = text.split("[tool.hatch.build.targets.wheel]\n")[1].splitlines()[0]
    assert wheel.startswith('packages = ["lightning_compress"]')
