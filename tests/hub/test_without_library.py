"""Without huggingface_hub, one sentence says what to install, and everything else works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from lightning_compress.errors import MissingLibraryError


@pytest.fixture(autouse=True)
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith("lightning_compress.hub.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def test_the_error_names_the_extra() -> None:
    with pytest.raises(MissingLibraryError, match=r'huggingface_hub: pip install "lightning-compress\[hub\]"'):
        import_module("lightning_compress.hub")


def test_the_command_says_it_too(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, out, errors = run("card", tmp_path / "x.safetensors")
    assert (status, out) == (1, "")
    assert 'pip install "lightning-compress[hub]"' in errors
