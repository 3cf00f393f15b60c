"""Temporary files: their names, links in their way, several writers of one path, and what killed writers leave."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import naming

from lightning_compress import Plan, Raw, Rule, compress, expand, load
from lightning_compress.archive import Archive
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.errors import ForeignFileError
from lightning_compress.files import (
    is_temporary_name,
    remove_left_over,
    replace_by_link,
    replacement,
    temporary,
    write_record,
)

needs_locks = pytest.mark.skipif(os.name == "nt", reason="this system has no locks of this kind")


def _archive(value: float) -> Archive:
    return compress({"weight": torch.full((50,), value)}, Plan(Rule("*", Raw())))


def _value(path: Path) -> float:
    return float(load(path)["weight"][0])


def _temporary(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_temporary_name(path.name)]


def test_names_are_random_recognized_and_short_enough(tmp_path: Path) -> None:
    names = [
        "model.safetensors",
        "x" * 255,
        "ü" * 127,
        "𝄞" * 63,
        "a",
        ".hidden",
        "with space",
        "line\nbreak",
        "\udce4x",
    ]
    for name in names:
        with naming(name):
            first, second = (temporary._temporary_name(name) for _ in range(2))
            assert first != second
            assert is_temporary_name(first)
            assert len(os.fsencode(first)) <= 143  # the smallest limit in use, of encrypted folders
    for name in ("model.safetensors", ".model.partial", "notes.partial", ".x.0123456789ABCDEF.partial"):
        assert not is_temporary_name(name)
    assert is_temporary_name(".model.safetensors.partial")  # of earlier versions


@pytest.mark.parametrize("name", ["x" * 243 + ".safetensors", "ü" * 121 + ".safetensors", "a"])
def test_a_name_that_the_filesystem_allows_can_be_saved(name: str, tmp_path: Path) -> None:
    _archive(1.0).save(tmp_path / name)
    _archive(2.0).save(tmp_path / name)
    companion_files.link(str(tmp_path / name), str(tmp_path / f"l{name[1:]}"))
    assert _value(tmp_path / f"l{name[1:]}") == 2.0
    assert not _temporary(tmp_path)


def test_a_link_in_the_way_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if someone could guess the name."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    _archive(1.0).save(tmp_path / "source.safetensors")
    monkeypatch.setattr(temporary.secrets, "token_hex", lambda _: "0123456789abcdef")
    monkeypatch.setattr(temporary, "remove_left_overs_of", lambda _: None)  # the link is made after that
    for name in ("model.ckpt", "model.safetensors", "record.json"):
        (tmp_path / temporary._temporary_name(name)).symlink_to(victim)
    for write in (
        lambda: _archive(2.0).save(tmp_path / "model.safetensors"),
        lambda: expand(tmp_path / "source.safetensors", tmp_path / "model.ckpt"),
        lambda: expand(tmp_path / "source.safetensors", tmp_path / "model.safetensors"),
        lambda: write_record(str(tmp_path / "record.json"), "{}", lambda _: True),
        lambda: replace_by_link(tmp_path / "model.safetensors", "source.safetensors"),
    ):
        with pytest.raises(FileExistsError):
            write()
    assert victim.read_text() == "precious"


def test_a_link_at_the_target_is_replaced_or_refused_and_never_followed(tmp_path: Path) -> None:
    _archive(1.0).save(tmp_path / "old.safetensors")
    link, dangling = tmp_path / "link.safetensors", tmp_path / "dangling.safetensors"
    link.symlink_to("old.safetensors")
    dangling.symlink_to("nowhere")
    for path in (link, dangling):
        with pytest.raises(ForeignFileError, match="exists and is not replaced"):
            expand(tmp_path / "old.safetensors", path)
        _archive(2.0).save(path)
        assert not path.is_symlink()
    assert _value(tmp_path / "old.safetensors") == 1.0
    assert not (tmp_path / "nowhere").exists()


def test_two_writers_of_one_path_both_write_whole_files_and_the_last_rename_wins(tmp_path: Path) -> None:
    """The second begins while the first reads its file back, and ends before it, or after it."""
    path, ends, started, go = tmp_path / "last.safetensors", [], threading.Event(), threading.Event()

    def note(_: object) -> None:
        started.set()
        assert go.wait(20)

    def second() -> None:
        ends.append(_archive(2.0).save(path, on_tensor=note))

    def first_read_back(_: object) -> None:
        thread.start()
        assert started.wait(20)
        assert len(_temporary(tmp_path)) == 2
        if ends_first:
            go.set()
            thread.join(20)

    for ends_first in (True, False):
        with naming(ends_first):
            started.clear(), go.clear()
            thread = threading.Thread(target=second)
            _archive(1.0).save(path, on_tensor=first_read_back)
            assert _value(path) == 1.0
            go.set()
            thread.join(20)
            assert _value(path) == (1.0 if ends_first else 2.0)
            assert list(tmp_path.iterdir()) == [path]
    assert len(ends) == 2


def test_a_file_that_appears_while_another_is_written_is_not_replaced(tmp_path: Path) -> None:
    _archive(1.0).save(tmp_path / "source.safetensors")
    for name, write in {
        "saved.safetensors": lambda path, hook: _archive(2.0).save(path, on_tensor=hook),
        "expanded.ckpt": lambda path, hook: expand(tmp_path / "source.safetensors", path, on_tensor=hook),
    }.items():
        path = tmp_path / name
        with pytest.raises(ForeignFileError, match="exists"):
            write(path, lambda _, path=path: path.write_text("somebody's"))
        assert path.read_text() == "somebody's"
    assert not _temporary(tmp_path)


@needs_locks
def test_only_what_no_writer_holds_is_left_over(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    other = tmp_path / ".other.0123456789abcdef.partial"
    other.touch()
    with replacement(target) as (live, file):
        file.write(b"half")
        assert not remove_left_over(live)
        _archive(1.0).save(target)  # a second writer of the same target
        assert live.exists()
        dead = tmp_path / ".model.safetensors.fedcba9876543210.partial"
        dead.touch()
        _archive(2.0).save(target)
        assert set(_temporary(tmp_path)) == {live, other}
    assert not live.exists()
    assert target.read_bytes() == b"half"
    assert remove_left_over(other)
    assert not remove_left_over(other)


def test_a_file_that_cannot_be_locked_is_left_over_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_try_lock", lambda _: None)
    file = tmp_path / ".file.0123456789abcdef.partial"
    file.touch()
    assert not remove_left_over(file)
    os.utime(file, (1e9, 1e9))
    assert remove_left_over(file)
    _archive(1.0).save(tmp_path / "model.safetensors")
    assert _value(tmp_path / "model.safetensors") == 1.0


def test_a_temporary_link_is_left_over_at_once_and_its_writer_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, path = tmp_path / ".link.0123456789abcdef.partial", tmp_path / "link"
    link.symlink_to("nowhere")
    assert remove_left_over(link)
    assert not remove_left_over(link)
    assert not link.is_symlink()
    for times in (3, 100):
        _delete_temporary_links_before_they_are_renamed(tmp_path, monkeypatch, times)
        if times == 3:
            replace_by_link(path, "somewhere")
        else:
            with pytest.raises(FileNotFoundError):
                replace_by_link(path, "elsewhere")
        assert path.readlink() == Path("somewhere")
        assert list(tmp_path.iterdir()) == [path]


def _delete_temporary_links_before_they_are_renamed(folder: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    rename, left = os.replace, [times]

    def replace(path: Path, target: Path) -> Path:
        if left[0]:
            left[0] -= 1
            assert all(remove_left_over(each) for each in _temporary(folder))
        rename(path, target)
        return target

    monkeypatch.setattr(Path, "replace", replace)


def test_a_file_that_was_taken_for_a_left_over_before_it_was_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = temporary._try_lock, []

    def take_the_first(descriptor: int) -> bool | None:
        if not taken:
            taken.extend(_temporary(tmp_path))
            taken[0].unlink()
        return lock(descriptor)

    monkeypatch.setattr(temporary, "_try_lock", take_the_first)
    _archive(1.0).save(tmp_path / "model.safetensors")
    assert len(taken) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def test_every_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        _archive(1.0).save(tmp_path / "a.safetensors")
        expand(tmp_path / "a.safetensors", tmp_path / "b.ckpt")
        expand(tmp_path / "a.safetensors", tmp_path / "c.safetensors")
        write_record(str(tmp_path / "d.json"), "{}", lambda _: True)
        (tmp_path / "a.safetensors").chmod(0o600)
        _archive(2.0).save(tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("a.safetensors", "b.ckpt", "c.safetensors", "d.json"), "0o640")


def test_content_is_synced_before_the_name_appears_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else f"file of {min(status.st_size, 1)}")
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Any:
        events.append("rename")
        return replace(path, target)

    _archive(1.0).save(tmp_path / "a.safetensors")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    for write, expected in (
        (lambda: _archive(2.0).save(tmp_path / "a.safetensors"), ["file of 1", "rename", "folder"]),
        (lambda: expand(tmp_path / "a.safetensors", tmp_path / "b.ckpt"), ["file of 1", "rename", "folder"]),
        (lambda: expand(tmp_path / "a.safetensors", tmp_path / "c.safetensors"), ["file of 1", "rename", "folder"]),
        (lambda: write_record(str(tmp_path / "d"), "{}", lambda _: True), ["file of 1", "rename", "folder"]),
        (lambda: replace_by_link(tmp_path / "link", "a.safetensors"), ["rename", "folder"]),
    ):
        events.clear()
        write()
        assert events == expected


def test_a_failed_link_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Read-only"):
        replace_by_link(tmp_path / "link", "a.safetensors")
    assert not list(tmp_path.iterdir())
