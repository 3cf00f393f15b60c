"""One run, reported once; tests that change a run copy it."""

from __future__ import annotations

import shutil

import pytest
from report_runs import Page, run_folder

from lightning_compress.report import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run that no test changes."""
    return run_folder(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def page(run, tmp_path_factory):
    """The page about it."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(run, out)
    return Page(out)


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run, to be changed."""
    return shutil.copytree(run, tmp_path / "run")
