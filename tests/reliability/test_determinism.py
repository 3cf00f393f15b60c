"""Every method, coder and preset writes the same bytes, whatever the order of the numbers in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reliability import determinism, determinism_files, results
from lightning_compress.coding import CODERS
from lightning_compress.plan import METHODS, PRESETS


def test_files_do_not_depend_on_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    first, coded = determinism_files.methods(), determinism_files.coders()
    monkeypatch.setenv("LAYOUT", "columns first")
    assert all(not tensor.is_contiguous() for tensor in determinism_files.model().values())
    assert determinism_files.methods() == first
    for name in (*METHODS, *PRESETS, *CODERS):
        assert any(name in made for made in (*first, *coded))


def test_a_file_that_differs_or_is_missing_is_found() -> None:
    made = {"first": {"a": "1", "b": "2"}, "same": {"a": "1", "b": "2"}, "other": {"a": "1", "b": "3", "c": "4"}}
    assert determinism.differences(made) == {"first": [], "same": [], "other": ["b", "c"]}


def test_results_are_kept_and_those_of_other_settings_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    made = results.load(path, seed=1)
    made["rows"].append(3)
    results.save(path, made)
    assert results.load(path, seed=1)["rows"] == [3]
    assert {"commit", "date", "machine"} <= json.loads(path.read_text()).keys()
    with pytest.raises(SystemExit, match="name another file"):
        results.load(path, seed=2)
