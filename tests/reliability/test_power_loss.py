"""Power is lost in a model of the disk; a writer that does not sync is found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from each_case import naming

from benchmarks.reliability import power_loss
from benchmarks.reliability.faults.recorded_operations import FileSync, FolderSync, Naming, recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the paths of open files are read in /proc")


def test_no_loss_of_power_damages_or_loses_a_file(tmp_path: Path) -> None:
    for name in ("save and overwrite", "link and link again", "file in place of a link", "last, two folders"):
        with naming(name):
            folder = tmp_path / name.replace(", ", "-")
            folder.mkdir()
            row = power_loss.run(name, folder)
            assert row["wrong"] == []
            assert row["states"] > row["operations"] > 5


def test_a_writer_that_does_not_sync_its_file_or_folder_is_found(tmp_path: Path) -> None:
    final, temporary = tmp_path / "a.safetensors", tmp_path / ".a.safetensors.0123456789abcdef.partial"
    other = tmp_path / "b.safetensors"
    create, rename = Naming({temporary: 1}), Naming({temporary: None, final: 1})
    sync, durable = FileSync(1, b"content"), FolderSync(tmp_path)
    cases = {
        "right": ([create, sync, rename, durable], ""),
        "file not synced": ([create, rename, durable], "damaged"),
        "synced too late": ([create, rename, sync, durable], "damaged"),
        "predecessor deleted before the folder is synced": (
            [FileSync(2, b"old"), Naming({other: 2}), durable, create, sync, rename, Naming({other: None})],
            "no complete file",
        ),
    }
    for name, (operations, expected) in cases.items():
        with naming(name):
            _, wrong = power_loss.losses(operations)
            assert bool(wrong) == bool(expected)
            assert all(expected in line for line in wrong[:1])


def test_operations_are_recorded_in_order(tmp_path: Path) -> None:
    with recorded(tmp_path) as recording:
        descriptor = os.open(tmp_path / "a", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        os.close(descriptor)
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "l").symlink_to("b")
        (tmp_path / "b").unlink()
    a, b, link = (tmp_path / name for name in "abl")
    assert recording.operations == [
        Naming({a: 1}),
        FileSync(1, b"x"),
        Naming({a: None, b: 1}),
        Naming({link: "b"}),
        Naming({b: None}),
    ]
