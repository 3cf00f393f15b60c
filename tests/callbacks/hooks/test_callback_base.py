"""Which Lightning is used, and random numbers that stay as they were."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
import torch

from lightning_compress.callbacks.hooks import base
from lightning_compress.errors import MissingLibraryError
from lightning_compress.runtime.random_state import preserved_random_state


def test_the_lightning_already_imported_is_taken(monkeypatch):
    import_module("pytorch_lightning")
    assert base.lightning_name() == "pytorch_lightning"
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", ModuleType("lightning.pytorch"))
    assert base.lightning_name() == "lightning.pytorch"


@pytest.mark.parametrize("installed", ["lightning", "pytorch_lightning"])
def test_else_the_one_installed(monkeypatch, installed):
    monkeypatch.setattr(base, "_is_imported", lambda name: False)
    monkeypatch.setattr(base, "find_spec", lambda name: object() if name == installed else None)
    assert base.lightning_name().partition(".")[0] == installed


def test_neither_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setattr(base, "_is_imported", lambda name: False)
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(MissingLibraryError, match="pip install"):
        base.lightning_name()


def test_random_numbers_go_on_as_if_nothing_had_been_drawn():
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = draw()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    with suppress(ZeroDivisionError), preserved_random_state():
        draw()
        raise ZeroDivisionError
    assert draw() == expected
