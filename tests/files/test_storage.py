"""Writing: all of a checked file or nothing, and never over a file of somebody else."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import save_file

from lightning_compress import compress, load
from lightning_compress.archive import Archive, is_archive
from lightning_compress.errors import ForeignFileError, VerificationError
from lightning_compress.files import read_bytes, temporary

FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")


def _archive(value: float) -> Archive:
    generator = torch.Generator().manual_seed(int(10 * value))
    return compress({"weight": torch.full((400,), value), "noise": torch.randn(200, generator=generator)}, "half")


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, bytes]:
    """A file of ours where the new one is to be, and its bytes."""
    path = tmp_path / "model.safetensors"
    _archive(1.0).save(path)
    return path, path.read_bytes()


def test_a_file_of_ours_is_replaced(old: tuple[Path, bytes]) -> None:
    path, before = old
    _archive(2.0).save(path)
    assert path.read_bytes() != before
    assert load(path)["weight"][0] == 2.0
    assert list(path.parent.iterdir()) == [path]


class _Failing:
    """A file that takes some bytes, then fails."""

    def __init__(self, file: Any, most: int, error: OSError) -> None:
        self.file, self.left, self.error = file, most, error

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def writelines(self, parts: Iterator[bytes]) -> None:
        for part in parts:
            taken = bytes(part)[: self.left]
            self.file.write(taken)
            self.left -= len(taken)
            if len(taken) < len(part):
                raise self.error


@pytest.mark.parametrize("most", [0, 7, 500])
def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_else(
    most: int, old: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = old
    fdopen = os.fdopen
    monkeypatch.setattr(temporary.os, "fdopen", lambda *args: _Failing(fdopen(*args), most, FULL))
    with pytest.raises(OSError, match="No space left"):
        _archive(2.0).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("operation", ["open", "fsync", "replace"])
@pytest.mark.parametrize("error", [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize("exists", [True, False])
def test_every_step_that_fails_leaves_what_was_there(
    operation: str, error: OSError, exists: bool, old: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = old
    if not exists:
        path.unlink()

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*((Path, "replace") if operation == "replace" else (temporary.os, operation)), fail)
    with pytest.raises(OSError, match=error.strerror):
        _archive(2.0).save(path)
    monkeypatch.undo()
    assert [file.read_bytes() for file in path.parent.iterdir()] == ([before] if exists else [])


def test_an_interrupt_leaves_no_partial_file(old: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = old

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(temporary.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _archive(2.0).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, path = os.fsync, tmp_path / "model.safetensors"

    def files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(temporary.os, "fsync", files_alone)
    _archive(1.0).save(path)
    assert is_archive(path)


def test_the_bytes_are_synced_and_checked_before_the_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "model.safetensors", []
    fsync, replace, verify = os.fsync, Path.replace, Archive.verify

    def note(what: str, function: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            events.append((what, path.exists()))
            return function(*args, **kwargs)

        return noted

    monkeypatch.setattr(temporary.os, "fsync", note("sync", fsync))
    monkeypatch.setattr(Path, "replace", note("rename", replace))
    monkeypatch.setattr(Archive, "verify", note("verify", verify))
    _archive(1.0).save(path)
    assert events == [("sync", False), ("verify", False), ("rename", False), ("sync", True)]


@pytest.mark.parametrize("position", [3, 60, -200, -1])
def test_bytes_that_change_on_the_way_to_the_disk_are_noticed(
    position: int, old: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = old
    fsync = os.fsync

    def damage(descriptor: int) -> None:
        fsync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            data = next(path.parent.glob(".*.partial")).read_bytes()
            at = position % len(data)
            os.pwrite(descriptor, bytes([data[at] ^ 0x10]), at)

    monkeypatch.setattr(temporary.os, "fsync", damage)
    with pytest.raises(VerificationError, match="did not read back"):
        _archive(2.0).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_streams_that_are_not_those_of_the_manifest_are_noticed(tmp_path: Path) -> None:
    archive = _archive(1.0)
    streams: Mapping[str, bytes] = {key: bytes(len(data)) for key, data in archive.streams.items()}
    with pytest.raises(VerificationError, match="checksum"):
        Archive(archive.manifest, streams).save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def _foreign_contents(folder: Path) -> dict[str, bytes]:
    save_file({"weight": torch.ones(3)}, folder / "plain", metadata={"format": "pt"})
    torch.save({"weight": torch.ones(3)}, folder / "checkpoint")
    contents = {name: (folder / name).read_bytes() for name in ("plain", "checkpoint")}
    for name in contents:
        (folder / name).unlink()
    return contents | {"empty": b"", "text": b"keep me", "half of ours": b"\x10\0\0\0\0\0\0\0" + b'{"__metadata__"'}


@pytest.mark.parametrize("kind", ["plain", "checkpoint", "empty", "text", "half of ours"])
def test_a_file_of_somebody_else_is_not_replaced(kind: str, tmp_path: Path) -> None:
    content = _foreign_contents(tmp_path)[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"model\.safetensors exists and is not a file of this package"):
        _archive(1.0).save(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ForeignFileError, match="exists"):
        _archive(1.0).save(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="directory"):
        Archive.open(tmp_path / "model.safetensors")


def test_a_missing_folder_or_file_is_an_os_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        _archive(1.0).save(tmp_path / "missing" / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="missing"):
        Archive.open(tmp_path / "missing.safetensors")


def test_a_link_is_replaced_and_what_it_led_to_is_kept(old: tuple[Path, bytes]) -> None:
    path, before = old
    link = path.with_name("last.safetensors")
    link.symlink_to(path.name)
    _archive(2.0).save(link)
    assert not link.is_symlink()
    assert load(link)["weight"][0] == 2.0
    assert path.read_bytes() == before


def test_a_link_to_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    foreign, link = tmp_path / "notes.txt", tmp_path / "model.safetensors"
    foreign.write_text("keep me")
    link.symlink_to(foreign)
    with pytest.raises(ForeignFileError):
        _archive(1.0).save(link)
    assert link.is_symlink()
    assert foreign.read_text() == "keep me"


def test_what_an_interrupted_save_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".model.safetensors.partial").write_bytes(b"half a file of a process that was killed")
    _archive(1.0).save(tmp_path / "model.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        _archive(1.0).save(tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640


@pytest.fixture
def memory() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.makedirs("/attic", exist_ok=True)
    yield "memory://attic/model.safetensors"
    system.rm("/attic", recursive=True)


def test_remote_files_are_written_whole_replaced_and_refused(memory: str) -> None:
    system = fsspec.filesystem("memory")
    _archive(1.0).save(memory)
    _archive(2.0).save(memory)
    assert load(memory)["weight"][0] == 2.0
    assert system.ls("/attic", detail=False) == ["/attic/model.safetensors"]
    system.pipe_file("/attic/model.safetensors", b"somebody's notes")
    with pytest.raises(ForeignFileError):
        _archive(3.0).save(memory)
    assert system.cat_file("/attic/model.safetensors") == b"somebody's notes"


def test_a_remote_file_that_reads_back_wrong_does_not_stay(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(path: str) -> BytesIO:
        data = bytearray(read_bytes(path))
        data[-1] ^= 1
        return BytesIO(data)

    monkeypatch.setattr("lightning_compress.files.source.open_ranges", damaged)
    with pytest.raises(VerificationError):
        _archive(1.0).save(memory)
    assert fsspec.filesystem("memory").ls("/attic") == []


def test_a_remote_place_that_cannot_be_opened_keeps_its_old_file(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _archive(1.0).save(memory)
    opened = MemoryFileSystem.open

    def no_writing(self: MemoryFileSystem, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "w" in mode:
            raise READ_ONLY
        return opened(self, path, mode, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "open", no_writing)
    with pytest.raises(OSError, match="Read-only"):
        _archive(2.0).save(memory)
    monkeypatch.undo()
    assert load(memory)["weight"][0] == 1.0


def test_a_file_may_be_replaced_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    _archive(1.0).save(path)
    opened = Archive.open(path)
    _archive(2.0).save(path)
    assert opened.restore()["weight"][0] == 1.0
    assert load(path)["weight"][0] == 2.0
