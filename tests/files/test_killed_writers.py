"""Writers that are killed at every step they take: a final name never holds a damaged file, and what is left goes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from each_case import naming
from safetensors.torch import load_file

from lightning_compress import Plan, Raw, Rule, compress, expand, load
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.files import is_temporary_name, replace_file

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
STEPS = {"open", "os.rename", "os.remove", "os.symlink", "fcntl.flock"}


def _killed(work: Callable[[], object], folder: Path, step: int) -> bool:
    """Do some work in a new process that is killed at a step it takes; whether it took that many."""
    process = os.fork()
    if process == 0:
        try:
            _kill_at(folder, step)
            work()
        finally:
            os._exit(0)
    status = os.waitpid(process, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def _kill_at(folder: Path, step: int) -> None:
    """Kill this process before it opens, locks, renames or deletes a file in the folder, or around a sync."""
    steps, fsync = count(1), os.fsync

    def take() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def synced(descriptor: int) -> None:
        take()
        fsync(descriptor)
        take()

    os.fsync = synced

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and (event == "fcntl.flock" or str(folder) in f"{arguments}"):
            take()

    sys.addaudithook(hook)
    signal.alarm(60)


def _kill_at_every_step(work: Callable[[], object], folder: Path, check: Callable[[], object]) -> int:
    for step in count(1):
        with naming(step):
            killed = _killed(work, folder, step)
            check()
        if not killed:
            return step - 1
    raise AssertionError


def _archive(value: float) -> Archive:
    return compress({"weight": torch.full((3000,), value)}, Plan(Rule("*", Raw())))


def _weight(path: Path) -> torch.Tensor:
    """What a file of any kind holds."""
    if path.suffix == ".ckpt":
        return torch.load(path)["state_dict"]["weight"]
    return load(path)["weight"] if is_archive(path) else load_file(path)["weight"]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not is_temporary_name(path.name)}


def test_a_killed_save_leaves_the_old_file_or_the_whole_new_one(tmp_path: Path) -> None:
    path, old, new = tmp_path / "model.safetensors", _archive(1.0), _archive(2.0)

    def check() -> None:
        assert load(path)["weight"][0] in (1.0, 2.0)
        Archive.open(path).verify()
        assert _names(tmp_path) == {path.name}
        assert len(list(tmp_path.iterdir())) <= 2  # each writer deletes what the one before it left
        old.save(path)
        assert list(tmp_path.iterdir()) == [path]

    old.save(path)
    assert _kill_at_every_step(lambda: new.save(path), tmp_path, check) > 8


def test_a_killed_writer_of_a_new_name_leaves_no_file_or_a_whole_one(tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    _archive(1.0).save(source)
    works: dict[str, Callable[[Path], object]] = {
        "save.safetensors": _archive(1.0).save,
        "expanded.ckpt": lambda path: expand(source, path),
        "expanded.safetensors": lambda path: expand(source, path),
        "link.safetensors": lambda path: companion_files.link(str(source), str(path)),
    }
    for name, work in works.items():
        path = tmp_path / name

        def check(path: Path = path) -> None:
            if path.exists():
                assert torch.equal(_weight(path), torch.full((3000,), 1.0))
                path.unlink()
            assert _names(tmp_path) == {source.name}

        with naming(name):
            work(path)  # imports what it needs, so that no process does it again
            check()
            assert _kill_at_every_step(lambda work=work, path=path: work(path), tmp_path, check) > 3


def test_a_writer_killed_between_two_parts_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"old")

    def parts(most: int):
        for number in range(4):
            if number == most:
                os.kill(os.getpid(), signal.SIGKILL)
            yield bytes([number]) * 100_000

    for most in range(4):
        with naming(most):
            process = os.fork()
            if process == 0:
                replace_file(str(path), parts(most), lambda _: None, lambda _: True)
                os._exit(0)
            assert os.waitpid(process, 0)[1] == signal.SIGKILL
            assert path.read_bytes() == b"old"
            assert len(list(tmp_path.iterdir())) == 2
    replace_file(str(path), parts(5), lambda _: None, lambda _: True)
    assert path.stat().st_size == 400_000
    assert list(tmp_path.iterdir()) == [path]
