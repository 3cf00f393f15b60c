"""Trainings on file systems that fail: one case of each kind of fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from each_case import naming

from benchmarks.reliability import file_systems

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the paths of open files are read in /proc")
CASES = (
    "disk full after 100 bytes; last, copied",
    "rename across devices; all, linked",
    "network file system; all, linked",
    "slow disk; all, linked",
    "folder that vanishes",
    "times of two seconds",
)


def test_trainings_continue_and_log_what_failed(tmp_path: Path) -> None:
    for number, name in enumerate(CASES):
        with naming(name):
            assert file_systems.CASES[name](tmp_path / str(number)) == []


def test_a_line_without_path_or_reason_is_found(tmp_path: Path) -> None:
    variant, fault = file_systems.VARIANTS["all, linked"], file_systems.FAULTS["read-only folder"]
    other = type(fault)(fault.patches, "another reason", epochs=1)
    wrong = file_systems.with_fault(other, variant, tmp_path)
    assert wrong
    assert all("Read-only file system" in line for line in wrong)
