"""A few killed trainings, and that the harness finds each kind of fault."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from each_case import naming

from benchmarks.reliability import crash
from benchmarks.reliability.trainings.child_processes import DelayedKill, run_child
from benchmarks.reliability.trainings.folder_state import inspect
from benchmarks.reliability.trainings.training import COPY, LINK, TOP, Variant, fit

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and their files are read in /proc"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
PACE = crash.Pace(steps=60, saves=(0.05, 0.02, 0.02, 0.02))


def test_trainings_that_are_killed_and_resumed_leave_folders_in_order(tmp_path: Path) -> None:
    chance = random.Random(5)
    rows = [
        crash.trial(name, PACE, chance, tmp_path)
        for name in ("all, overwritten", "best, last linked", "last, two folders")
    ]
    assert [row["failed"] for row in rows] == [[]] * 3
    counts = crash.summary(rows)
    assert counts["trials"] == 3
    assert counts["kills"] >= 2
    assert not list(tmp_path.iterdir())


def test_a_child_is_killed_after_its_mark_or_ends(tmp_path: Path) -> None:
    def work(mark, seconds: float = 0.0) -> None:
        mark("save 1")
        mark("save 2")
        time.sleep(seconds)

    killed = run_child(lambda mark: work(mark, 60.0), tmp_path / "log", DelayedKill("save", 2, 0.0))
    assert killed.code == -signal.SIGKILL
    assert killed.killed
    ended = run_child(work, tmp_path / "log")
    assert ended.code == 0
    assert [text for _, text in ended.marks] == [text for _, text in killed.marks] == ["save 1", "save 2"]
    failed = run_child(lambda _: 1 / 0, tmp_path / "log")
    assert failed.code == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_every_kind_of_fault_is_found(tmp_path: Path) -> None:
    fit(Variant({"plan": "half"}, [TOP | LINK]), tmp_path, 1)
    folder = tmp_path / "run"
    first, second = sorted(folder.glob("epoch*.ckpt"))
    companion, other = first.with_suffix(".compressed.safetensors"), second.with_suffix(".compressed.safetensors")
    assert inspect(tmp_path, "all").found() == {}

    def cut() -> None:
        companion.write_bytes(companion.read_bytes()[:-1])

    faults = {
        "damaged": cut,
        "stale": lambda: shutil.copy(other, companion),
        "gaps": companion.unlink,
        "orphans": first.unlink,
        "temporary": (folder / ".x.0123456789abcdef.partial").touch,
        "dangling": lambda: (folder / "x.safetensors").symlink_to("gone.safetensors"),
        "torn": lambda: first.write_bytes(first.read_bytes()[:100]),
    }
    shutil.copytree(folder, tmp_path.with_name("copy"), symlinks=True)
    for kind, make in faults.items():
        shutil.rmtree(folder)
        shutil.copytree(tmp_path.with_name("copy"), folder, symlinks=True)
        make()
        with naming(kind):
            assert kind in inspect(tmp_path, "all").found()
    shutil.rmtree(tmp_path.with_name("copy"))


def test_what_the_policy_does_not_allow_is_found(tmp_path: Path) -> None:
    fit(Variant({"plan": "half"}, [TOP | COPY]), tmp_path, 1)
    assert set(inspect(tmp_path, "last").found()) == {"surplus"}
    best = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["callbacks"]
    (state,) = best.values()
    found = inspect(tmp_path, "best").found()
    assert Path(state["best_model_path"]).with_suffix(".compressed.safetensors").name not in str(found)
    assert "gaps" not in found
