"""Damaged files: reading raises an error of this package, or restores exactly the original content."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from forge import file_of, forged, open_and_verify, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from lightning_compress import load
from lightning_compress.archive import Archive, is_archive
from lightning_compress.errors import ChecksumError, ForeignFileError, FormatError, TruncatedError

FILE = file_of(sound())
FILES = [forged(sound(), lambda manifest: None, 1), FILE]
VERSIONS = pytest.mark.parametrize("file", FILES, ids=["version 1", "version 2"])
START = b'{"__metadata__":{"lightning_compress":'


def _header_end(file: bytes) -> int:
    return 8 + int.from_bytes(file[:8], "little")


@VERSIONS
def test_the_sound_file_is_read(file: bytes) -> None:
    open_and_verify(file)


@VERSIONS
def test_every_flipped_byte_is_noticed(file: bytes) -> None:
    for position in range(len(file)):
        for flip in (1 << (position % 8), 0x20, 0xFF):
            damaged = bytearray(file)
            damaged[position] ^= flip
            expected = ForeignFileError if 8 <= position < 8 + len(START) else FormatError
            with pytest.raises(expected):
                open_and_verify(bytes(damaged))


@VERSIONS
def test_every_flipped_byte_of_a_stream_is_a_wrong_checksum(file: bytes) -> None:
    for position in range(_header_end(file), len(file)):
        damaged = bytearray(file)
        damaged[position] ^= 0x55
        with pytest.raises(ChecksumError, match="does not have its checksum"):
            open_and_verify(bytes(damaged))


@VERSIONS
def test_every_truncation_is_noticed(file: bytes) -> None:
    for length in range(len(file)):
        with pytest.raises(TruncatedError if length > 8 else ForeignFileError):
            open_and_verify(file[:length])


@pytest.mark.parametrize("more", [b"\0", b" " * 8, FILE, b"\0" * 100_000])
def test_bytes_after_the_end_are_noticed(more: bytes) -> None:
    with pytest.raises(FormatError, match=f"{len(more)} bytes follow"):
        open_and_verify(FILE + more)


def test_bytes_before_the_start_are_noticed() -> None:
    with pytest.raises(ForeignFileError):
        open_and_verify(b"\0" + FILE)


@pytest.mark.parametrize("claim", [100_000_001, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_header_of_absurd_length_is_refused(claim: int) -> None:
    with pytest.raises(FormatError, match="claims"):
        open_and_verify(claim.to_bytes(8, "little") + FILE[8:])


@pytest.mark.parametrize("claim", [len(FILE), 100_000_000])
def test_a_header_longer_than_the_file_is_truncated(claim: int) -> None:
    with pytest.raises(TruncatedError, match=f"{claim + 8}"):
        open_and_verify(claim.to_bytes(8, "little") + FILE[8:])


@VERSIONS
@pytest.mark.parametrize("change", [-9, -8, -1, 1, 8, 16])
def test_a_header_of_another_length_is_refused(change: int, file: bytes) -> None:
    length = _header_end(file) - 8 + change
    with pytest.raises(FormatError):
        open_and_verify(length.to_bytes(8, "little") + file[8:])


FOREIGN = {
    "empty": b"",
    "one byte": b"x",
    "eight zeros": bytes(8),
    "plain safetensors": save({"weight": torch.ones(3)}, {"format": "pt"}),
    "safetensors without metadata": save({"weight": torch.ones(3)}),
    "safetensors of another key": save({"weight": torch.ones(3)}, {"lightning_compression": "{}"}),
    "pickle": pickle.dumps({"state_dict": {}}),
    "text": b"# notes on compression\n" * 20,
    "ours in other white space": FILE[:8] + b" " + FILE[8:],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_distinguished(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(FOREIGN[name])
    assert not is_archive(path)
    with pytest.raises(ForeignFileError, match=r"model\.safetensors .* does not begin like a file of this package"):
        load(path)


def test_a_large_foreign_file_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # takes no space on the disk
    tracemalloc.start()
    try:
        with pytest.raises(ForeignFileError, match="1073741824 bytes"):
            Archive.open(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_checkpoints_and_zip_files_are_foreign(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(3)}}, tmp_path / "model.ckpt")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", FILE)
    for path in tmp_path.iterdir():
        with pytest.raises(ForeignFileError):
            Archive.open(path)


def test_a_file_with_a_damaged_end_is_not_partly_restored(tmp_path: Path) -> None:
    """Tensors decoded before the damaged one are not returned."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(FILE[:-1] + bytes([FILE[-1] ^ 1]))
    archive = Archive.open(path)
    assert set(archive.restore()) == set(archive.manifest.names)  # the last stream is that of the asset
    with pytest.raises(ChecksumError, match="words"):
        archive.assets()
    with pytest.raises(ChecksumError, match="words"):
        archive.verify()


@VERSIONS
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 6)), min_size=1))
def test_any_edits_are_noticed_or_change_nothing(file: bytes, edits: list[tuple[float, bytes, int]]) -> None:
    data = file
    for place, insert, remove in edits[:5]:
        position = int(place * len(file))
        data = data[:position] + insert + data[position + remove :]
    if data == file:
        open_and_verify(data)
    else:
        with pytest.raises(FormatError):
            open_and_verify(data)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(tail=st.binary(max_size=200), length=st.integers(0, 200), ours=st.booleans())
def test_any_bytes_are_refused(tail: bytes, length: int, ours: bool) -> None:
    with pytest.raises(FormatError):
        open_and_verify(length.to_bytes(8, "little") + (START if ours else b"") + tail)
