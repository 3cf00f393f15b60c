"""The compiled loops where numba's cache is damaged, full or cannot be written."""

from __future__ import annotations

import errno
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numba
import pytest
from each_case import naming
from numba.core import caching

from lightning_compress.runtime import compilation
from lightning_compress.runtime.compilation import compiled


def _inner(x: float) -> float:
    return x + 1


def _result_and_loaded() -> tuple[float, bool]:
    """The result of a function that is compiled or loaded as in a new process, and whether it was loaded."""
    function: Any = compiled(_inner)
    return function(1.0), sum(function.stats.cache_hits.values()) > 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compilation, "_told", [])
    return tmp_path


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: os.truncate(path, 0),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a pickle"),
    "other values": lambda path: path.write_bytes(pickle.dumps(numba.__version__) + pickle.dumps(5)),
    "a class that is gone": lambda path: path.write_bytes(b"cgone_package\nGone\n."),
    "another version": lambda path: path.write_bytes(pickle.dumps("0.1") + b"of another form"),
    "missing": Path.unlink,
}


def test_a_damaged_cache_is_logged_once_and_replaced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _result_and_loaded() == (2.0, False)
    assert _result_and_loaded() == (2.0, True)
    for suffix, names in (("nbi", list(DAMAGES)), ("nbc", ["empty", "cut short", "missing"])):
        for name in names:
            with naming((suffix, name)):
                caplog.clear()
                compilation._told.clear()
                for path in folder.glob(f"*_*/*.{suffix}"):
                    DAMAGES[name](path)
                assert _result_and_loaded() == (2.0, False)
                assert len(caplog.records) == (name not in ("missing", "another version"))
                assert _result_and_loaded() == (2.0, True)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_what_cannot_be_replaced_is_compiled_each_time(
    suffix: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _result_and_loaded()
    for path in folder.rglob(f"*.{suffix}"):
        _replace_by_folder(path)
    for _ in range(2):
        assert _result_and_loaded() == (2.0, False)
    assert len(caplog.records) == 1
    assert "NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.parametrize("step", ["_save_index", "_save_data"])
def test_a_full_disk_is_no_error(
    step: str, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, step, fail)
    for _ in range(2):
        assert _result_and_loaded() == (2.0, False)
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
    monkeypatch.undo()


def test_without_any_folder_functions_are_compiled_each_time(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", lambda _: Path("/proc/none").mkdir())
    assert _result_and_loaded() == (2.0, False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert not list(folder.iterdir())
