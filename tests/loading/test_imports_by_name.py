"""Classes and functions that are imported by name: what a file may name, and what fails in a user's module."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from each_case import naming

from lightning_compress.cli.imports import import_by_path
from lightning_compress.errors import ClassNotAllowedError
from lightning_compress.loading import resolve_class

MODULES = {
    "zoo/__init__.py": "from zoo.models import Good\n",
    "zoo/models.py": """
import functools, torch
from torch import nn
from torch.nn import Linear as Renamed
from zoo_other import Foreign
class Good(nn.Module):
    class Inner(nn.Module): pass
class Lies(type):
    __module__ = property(lambda kind: "zoo.models")
Disguised = Lies("Disguised", (nn.Module,), {"__module__": "zoo_other"})
partial = functools.partial(Good)
""",
    "zoo/lazy.py": "import sys\ndef __getattr__(name):\n if name == 'leave': sys.exit(3)\n raise ValueError(name)\n",
    "zoo_other.py": "from torch import nn\nclass Foreign(nn.Module): pass\n",
    "module/__init__.py": "raise AssertionError('the package module/ was imported')\n",
    "_orig_mod.py": "raise AssertionError('the module _orig_mod was imported')\n",
    "broken_syntax.py": "def (:\n",
    "broken_import.py": "\nfrom os import nosuch\n",
    "broken_dependency.py": "import no_such_dependency\n",
    "broken_value.py": "\n\n1 / 0\n",
    "broken_exit.py": "import sys\nsys.exit(5)\n",
}
ALLOWED = ["zoo", "zoo.*"]


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("zoo", "zoo_other")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_file_may_name_classes_of_allowed_packages_and_their_other_names() -> None:
    for path in ("zoo.models.Good", "zoo.Good", "zoo.models.Good.Inner"):
        with naming(path):
            assert resolve_class(path, ALLOWED).__module__ == "zoo.models"


def test_a_class_that_is_defined_elsewhere_is_refused_with_its_own_path() -> None:
    for path, own in {
        "zoo.models.Renamed": "torch.nn.modules.linear.Linear",
        "zoo.models.Foreign": "zoo_other.Foreign",
        "zoo.models.Disguised": "zoo_other.Disguised",
    }.items():
        with naming(path):
            with pytest.raises(ClassNotAllowedError, match=re.escape(f"names the class {path!r}, which is {own!r}")):
                resolve_class(path, ALLOWED)
            assert resolve_class(path, [*ALLOWED, own]) is resolve_class(path, [path])


def test_wrappers_in_an_import_path_are_names_of_packages() -> None:
    for path in ("module.zoo.models.Good", "_orig_mod.zoo.Good", "model._orig_mod.zoo.Good", "os.system", "", ".zoo.x"):
        with naming(path):
            with pytest.raises(ClassNotAllowedError, match="which no allowed pattern matches"):
                resolve_class(path, ALLOWED)
            assert not {"module", "_orig_mod"} & set(sys.modules)


def test_paths_that_lead_to_no_class_are_refused() -> None:
    places = (
        "models.torch.nn.Linear",
        "models.partial",
        "models.nosuch",
        "models.Good.forward.__globals__",
        "nosuch.X",
    )
    for path in ("zoo", "zoo.", "zoo..x", "zoo.\0", "zoo.a b", *(f"zoo.{place}" for place in places)):
        with naming(path), pytest.raises(ClassNotAllowedError, match=r"leads to no torch\.nn\.Module class here"):
            resolve_class(path, ALLOWED)


FAILURES = {
    "broken_syntax:M": r"importing broken_syntax fails with SyntaxError: invalid syntax \(broken_syntax.py, line 1\)",
    "broken_import:M": r"fails with ImportError: cannot import name 'nosuch'.*\(.*broken_import.py:2\)",
    "broken_dependency:M": r"fails with ModuleNotFoundError: No module named 'no_such.*\(.*broken_dependency.py:1\)",
    "broken_value:M": r"fails with ZeroDivisionError: division by zero \(.*broken_value.py:3\)\. Correct that code",
    "broken_exit:M": r"importing broken_exit fails with SystemExit: 5 \(.*broken_exit.py:2\)",
    "zoo.lazy:leave": r"importing leave fails with SystemExit: 3 \(.*lazy.py:3\)",
    "zoo.lazy:other": r"importing other fails with ValueError: other \(.*lazy.py:4\)",
    "no_such_module:M": "No module named 'no_such_module'. Install it, or run from the folder that holds it",
    "zoo.nosuch:M": "No module named 'zoo.nosuch'. Install it",
    "..x:y": r"'\.\.x' is no name of a module, expected one such as package\.module",
    "a b:y": "'a b' is no name of a module",
    "math:pi": "pi is of type float, expected a class or a function",
    "sys:modules": "modules is of type dict, expected a class or a function",
    "math:nosuch": "there is no 'nosuch' in math",
    "math": r"--module is 'math', expected package\.module:name",
}


def test_what_fails_in_a_user_s_module_is_one_sentence_with_its_place() -> None:
    for path, message in FAILURES.items():
        with naming(path):
            with pytest.raises(ClassNotAllowedError, match=message) as caught:
                import_by_path("--module", path)
            assert "\n" not in str(caught.value)


def test_failures_of_a_class_that_a_file_names_are_sentences_too() -> None:
    for path, message in FAILURES.items():
        if path.startswith("broken"):
            with naming(path), pytest.raises(ClassNotAllowedError, match=message):
                resolve_class(path.replace(":", "."), ["*"])


def test_an_object_that_is_not_called_may_be_of_any_type() -> None:
    assert import_by_path("--calibration", "sys:modules", is_called=False) is sys.modules


def test_the_command_ends_in_the_sentence(run) -> None:  # type: ignore[no-untyped-def]
    status, _, error = run(
        "tune", "m.ckpt", "-o", "t.safetensors", "--module", "broken_value:M", "--evaluate", "os:getcwd"
    )
    assert status == 1
    assert error.startswith("error: --module 'broken_value:M': importing broken_value fails with ZeroDivisionError")
