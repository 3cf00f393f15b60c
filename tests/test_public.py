"""The public contract: names, imports that stay light, one base for every error."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points, version

import pytest
from fresh_process import in_fresh_process
from import_stages import loaded_after

import lightning_compress
from lightning_compress import errors

CONTRACT = (
    "CompressCheckpoint", "Plan", "Rule", "Prune", "Interval", "Half", "compress", "load", "load_from_checkpoint",
    "CompressionError",
)  # fmt: skip


def modules_after(step):
    """Top-level names of all modules that a fresh interpreter holds after a step of ``import_stages``."""
    return {name.partition(".")[0] for name in in_fresh_process(loaded_after, step)}


def test_every_name_of_the_contract_is_there():
    for name in CONTRACT:
        assert name in lightning_compress.__all__
        assert getattr(lightning_compress, name).__name__ == name


def test_every_exported_name_exists_and_has_a_docstring():
    assert dir(lightning_compress) == lightning_compress.__all__
    for name in lightning_compress.__all__:
        assert inspect.getdoc(getattr(lightning_compress, name)), name


def test_the_error_about_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'squeeze'; it offers .*compress, expand"):
        _ = lightning_compress.squeeze


def test_reading_imports_neither_lightning_nor_wandb():
    loaded = modules_after("reading")
    assert {"lightning_compress", "torch"} <= loaded
    assert not loaded & {"lightning", "pytorch_lightning", "wandb", "torchmetrics", "typer", "rich", "recipes", "numba"}


def test_the_package_alone_imports_nothing_heavy():
    loaded = modules_after("package")
    assert "lightning_compress" in loaded
    assert not loaded & {"torch", "numpy", "constriction", "backports", "zstandard", "yaml"}


def test_loading_imports_no_lightning_and_the_callback_one_lightning_without_wandb():
    lightning = {"pytorch_lightning", "lightning", "wandb"}
    assert modules_after("modules") & lightning == set()
    assert modules_after("callback") & lightning == {"pytorch_lightning"}


def test_charts_load_matplotlib_when_one_is_drawn_and_pyplot_never():
    assert not in_fresh_process(loaded_after, "charts") & {"matplotlib", "jinja2"}
    drawn = in_fresh_process(loaded_after, "a chart")
    assert "matplotlib" in drawn
    assert "matplotlib.pyplot" not in drawn


def test_every_error_has_the_one_base():
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert len(classes) > 10
    for kind in classes:
        assert issubclass(kind, lightning_compress.CompressionError)
        assert kind.__doc__


def test_the_command_is_installed_with_the_package():
    assert version("lightning-compress")
    (script,) = entry_points(group="console_scripts", name="lightning-compress")
    assert script.value == "lightning_compress.cli:main"
