"""Settings and fixtures of all tests.

Property tests draw the same examples on every run, and take the time that a busy machine needs. Each worker computes on
one core, and so does each process that it starts: with more, they wait for each other.
"""

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

gc.disable()  # while modules are imported, which makes many objects and no garbage

for library in ("OMP", "OPENBLAS"):  # which are loaded with torch and numpy, later
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

settings.register_profile(
    "seeded", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("seeded")


def pytest_collection_finish() -> None:
    """Collect garbage from here on, among new objects only: the imported modules stay."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def disk_is_not_waited_for():
    """A power failure would lose what a test wrote; no test waits for the disk, which takes milliseconds a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # an error where the descriptor is none
        yield


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process: status, output, error output."""

    from lightning_compress import cli  # here, since other tests look at what is imported

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lightning-compress", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def layout_while_drawing(monkeypatch):
    """Charts get their layout once, when they are drawn to a file, and no layout if a test looks at their contents."""
    from matplotlib.figure import Figure

    usual = Figure.set_layout_engine

    def set_layout_engine(figure, layout=None, **settings):
        if layout != "none":
            usual(figure, layout, **settings)

    monkeypatch.setattr(Figure, "draw_without_rendering", lambda figure: None)
    monkeypatch.setattr(Figure, "set_layout_engine", set_layout_engine)


@pytest.fixture
def quick_predictions(monkeypatch):
    """A search predicts bytes by a formula; its files, evaluations and decisions are those of every search."""
    from quick_predictions import bytes_by_formula

    monkeypatch.setattr("lightning_compress.search.families.family.predicted_bytes", bytes_by_formula)


@pytest.fixture(scope="module")
def quick_coding():
    """Leave out adaptive models and Zstandard, which take most of the time: files are as sound, and a bit larger."""
    from lightning_compress.coding.lanes import coder
    from lightning_compress.coding.zstandard import Zstandard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Zstandard, "lower_bound", lambda self, statistics: None)
        patch.setattr(coder, "is_adaptive", lambda statistics: False)
        yield
