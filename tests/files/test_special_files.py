"""What is no regular file is refused at once, for reading and for writing; a file that is cut short is an error."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from each_case import naming

from lightning_compress import Plan, Raw, Rule, compress, expand, load
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.errors import CompressionError, ForeignFileError, TruncatedError, WeightsError
from lightning_compress.files import read_bytes, write_record

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


@pytest.fixture
def archive() -> Archive:
    return compress({"weight": torch.randn(500, 50)}, Plan(Rule("*", Raw())))


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """One of each type; a test that waits for one of them fails after 30 seconds."""

    def fail(*_: object) -> None:
        raise AssertionError("waited for a special file")

    paths = {name: tmp_path / f"{name}.safetensors" for name in ("FIFO", "directory", "socket", "device", "link")}
    os.mkfifo(paths["FIFO"])
    paths["directory"].mkdir()
    paths["device"].symlink_to("/dev/zero")
    paths["link"].symlink_to(paths["FIFO"].name)
    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(30)
    folder = Path.cwd()
    os.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths["socket"].name)
        os.chdir(folder)
        yield paths
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_special_files_are_not_read(special: dict[str, Path], tmp_path: Path) -> None:
    for name, path in special.items():
        with naming(name):
            assert not is_archive(path)
            expected = "FIFO" if name == "link" else name
            for read in (Archive.open, load, lambda p: read_bytes(str(p)), lambda p: expand(p, tmp_path / "x.ckpt")):
                with pytest.raises(OSError, match=expected if name != "directory" else "Is a directory") as caught:
                    read(path)
                assert path.name in str(caught.value)
            with pytest.raises(WeightsError, match=path.stem):
                compress(path, "half")


def test_special_files_are_not_replaced(archive: Archive, special: dict[str, Path], tmp_path: Path) -> None:
    archive.save(tmp_path / "source.safetensors")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    for name, path in special.items():
        with naming(name):
            for write in (
                archive.save,
                lambda p: expand(tmp_path / "source.safetensors", p),
                lambda p: write_record(str(p), "{}", lambda _: True),
                lambda p: companion_files.link(str(tmp_path / "source.safetensors"), str(p)),
            ):
                with pytest.raises(ForeignFileError, match=path.name):
                    write(path)
            assert not companion_files.discard(str(path))
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


def test_a_file_that_is_cut_short_or_overwritten_while_it_is_open_stays_readable(
    archive: Archive, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    archive.save(path)
    opened = Archive.open(path)
    os.truncate(path, 5000)
    assert torch.equal(opened.restore()["weight"], archive.restore()["weight"])
    opened.verify()
    with pytest.raises(TruncatedError):
        Archive.open(path)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    archive.save(path)
    data = path.read_bytes()
    for left in (0, 4, 30, 60, 500, len(data) // 2, len(data) - 1):
        path.write_bytes(data)
        deferred = Archive.open(path, deferred=True)  # its coded bytes are read later
        os.truncate(path, left)
        with naming(left), pytest.raises(TruncatedError, match="was changed or cut short while it was read"):
            deferred.restore()
    path.write_bytes(data)
    deferred = Archive.open(path, deferred=True)
    path.rename(tmp_path / "elsewhere")
    path.write_bytes(b"another file")
    assert torch.equal(deferred.restore()["weight"], archive.restore()["weight"])


def test_a_large_file_is_not_read_before_its_sizes_are_checked(archive: Archive, tmp_path: Path) -> None:
    """A terabyte of a hole in the file takes no disk; reading it would take all memory."""
    path = tmp_path / "model.safetensors"
    for content in (b"x", archive):
        if isinstance(content, Archive):
            path.unlink()
            content.save(path)
        else:
            path.write_bytes(content)
        os.truncate(path, 1 << 40)
        with pytest.raises(CompressionError, match=str(1 << 40) if content == b"x" else "follow the last stream"):
            Archive.open(path)
