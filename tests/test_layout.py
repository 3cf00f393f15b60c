"""The packages of the library: no name hides a module, no folder is crowded, no file is long."""

from __future__ import annotations

import contextlib
import pkgutil
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

import lightning_compress
from lightning_compress.errors import MissingLibraryError

ROOT = Path(__file__).parent.parent
MOST_FILES, MOST_LINES = 12, 250


def hidden_modules(package):
    """Full names of the modules below a package whose parent has something else under their name."""
    found = pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
    names = [module.name for module in found if not module.name.endswith(".__main__")]  # which would run a command
    for name in names:
        with contextlib.suppress(MissingLibraryError):  # of an extra that is not installed
            import_module(name)
    parents = {name: name.rpartition(".") for name in names if name in sys.modules}
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


def crowded_folders(root: Path) -> list[str]:
    """Folders with more than a dozen Python files."""
    files = Counter(path.parent for path in root.rglob("*.py"))
    return [folder.as_posix() for folder, number in files.items() if number > MOST_FILES]


def long_files(root: Path) -> list[str]:
    """Python files of more than 250 lines."""
    return [path.as_posix() for path in root.rglob("*.py") if len(path.read_text().splitlines()) > MOST_LINES]


@pytest.mark.parametrize("folder", ["lightning_compress", "recipes", "benchmarks", "tests"])
def test_no_folder_holds_more_than_a_dozen_files(folder):
    assert crowded_folders(ROOT / folder) == []


@pytest.mark.parametrize("folder", ["lightning_compress", "recipes", "benchmarks"])
def test_no_file_is_longer_than_250_lines(folder):
    assert long_files(ROOT / folder) == []


def test_crowded_folders_and_long_files_are_found(tmp_path):
    for number in range(MOST_FILES + 1):
        (tmp_path / f"module_{number}.py").write_text("\n" * (MOST_LINES + (number == 3)))
    assert crowded_folders(tmp_path) == [tmp_path.as_posix()]
    assert long_files(tmp_path) == [(tmp_path / "module_3.py").as_posix()]
