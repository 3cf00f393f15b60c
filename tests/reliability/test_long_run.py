"""Forty saves in one training, and what counts as growth."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.reliability.long_run import SLACK, grown, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the process is measured in /proc")


def test_saves_leave_no_files_threads_or_processes(tmp_path: Path) -> None:
    early, late = run("all", 40, tmp_path)
    assert not grown(early, late).keys() - {"memory", "objects"}  # which grow while the first saves warm up
    assert late.files == 9  # the folder, three checkpoints, a link, and their companion files
    for name in asdict(late):
        more = replace(late, **{name: getattr(late, name) + SLACK.get(name, 0) + 1})
        assert list(grown(late, more)) == [name]
