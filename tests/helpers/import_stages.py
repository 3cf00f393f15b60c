"""Imports the parts of the package one after another, and records after each step which modules are loaded.

The fork server of ``fresh_process`` imports this module first, so a new process is started and its imports are paid for
once for all tests that need a fresh process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def _import_readers() -> None:
    import_module("lightning_compress.archive")
    from lightning_compress import Half, Interval, Plan, Prune, compress, load  # noqa: F401 – imported when named


def _draw() -> None:
    from lightning_compress.charts import ranked_bars, to_png

    to_png(ranked_bars(["a"], [1.0]))


def _import_callback() -> None:
    from lightning_compress import CompressCheckpoint  # noqa: F401 – likewise


STEPS: dict[str, Callable[[], object]] = {
    "package": lambda: import_module("lightning_compress"),
    "reading": _import_readers,
    "modules": lambda: import_module("lightning_compress.loading.modules"),
    "charts": lambda: import_module("lightning_compress.charts"),
    "a chart": _draw,
    "callback": _import_callback,
}
LOADED: dict[str, frozenset[str]] = {}  # step → full names of all modules that are loaded after it
for _step, _take in STEPS.items():
    _take()
    LOADED[_step] = frozenset(sys.modules)


def loaded_after(step: str) -> frozenset[str]:
    """Full names of the modules that are loaded after a step and those before it."""
    return LOADED[step]
