"""Files that were written once and must be read for ever: by the package, and by a reader of the specification."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import golden_models
import pytest
import reference_reader
import torch
import write_golden
import zstandard
from golden_models import FILES, FOLDER, MODELS
from torch import Tensor

from lightning_compress.archive import Archive
from lightning_compress.weights import as_bytes

# What the libraries of the golden files made of one text. Another build of zlib or Zstandard may code differently, as
# well or better; its files differ from these, and are no less right.
_SAMPLE = golden_models.bell(5000, 1).astype("<f4").tobytes()
_LIBRARIES = (843480649, 663088980, 2550705436, 1887517881)


def _libraries() -> tuple[int, ...]:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    huffman = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    codes = [compressor.compress(_SAMPLE) + compressor.flush() for compressor in (deflate, huffman)]
    codes += [zstandard.ZstdCompressor(level=level).compress(_SAMPLE) for level in (3, 19)]
    return tuple(zlib.crc32(code) for code in codes)


def _plain(tensor: Tensor) -> tuple[tuple[int, ...], str, bytes]:
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), as_bytes(tensor).numpy().tobytes()


def test_every_golden_file_is_there_and_no_other() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 60_000


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(sys.byteorder == "big", reason="the reference compares words of this machine")
def test_the_package_and_the_specification_read_the_same(name: str) -> None:
    archive, reference = Archive.open(FOLDER / name), reference_reader.read(FOLDER / name)
    restored = {tensor_name: _plain(tensor) for tensor_name, tensor in archive.restore().items()}
    assert restored == reference.tensors
    assert archive.assets() == reference.assets
    assert list(archive.manifest.names) == list(reference.tensors)
    archive.verify()


@pytest.mark.parametrize("model", MODELS)
def test_the_writer_of_today_gives_the_newest_file_byte_for_byte(model: str, tmp_path: Path) -> None:
    if _libraries() != _LIBRARIES:
        pytest.skip("this build of zlib or Zstandard codes differently from that of the golden files")
    build, newest = MODELS[model]
    build().save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (FOLDER / f"{model}.{newest}.safetensors").read_bytes()


@pytest.mark.parametrize("model", ["dtypes", "coders"])
def test_lossless_golden_files_hold_what_they_were_made_from(model: str) -> None:
    build, newest = MODELS[model]
    restored = Archive.open(FOLDER / f"{model}.{newest}.safetensors").restore()
    source = build().restore()
    assert {name: _plain(tensor) for name, tensor in restored.items()} == {n: _plain(t) for n, t in source.items()}


def test_ties_of_the_golden_file_share_memory() -> None:
    restored = Archive.open(FOLDER / "ties.1.safetensors").restore()
    base = restored["embedding.weight"]
    assert torch.equal(restored["transposed"], base.t())
    assert torch.equal(restored["rows"], base[2:5])
    assert torch.equal(restored["every other"], base.reshape(-1)[1:].as_strided((20, 8), (16, 2)))
    base.zero_()
    for name in ("softmax.weight", "transposed", "rows", "every other", "one", "repeated"):
        assert not restored[name].any(), name


def test_the_script_writes_what_is_missing_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_golden, "FOLDER", tmp_path)
    (tmp_path / "ties.1.safetensors").write_bytes(b"kept as it is")
    write_golden.main()
    write_golden.main()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{newest}.safetensors" for name, (_, newest) in MODELS.items()
    }
    assert (tmp_path / "ties.1.safetensors").read_bytes() == b"kept as it is"
    assert reference_reader.read(tmp_path / "dtypes.1.safetensors").tensors


def test_golden_files_cover_every_payload_coder_and_kind_of_table() -> None:
    archives = [Archive.open(FOLDER / name) for name in FILES]
    entries = [entry for archive in archives for entry in archive.manifest.entries]
    assert {entry.kind for entry in entries} == {"raw", "half", "indexed"}
    assert {entry.payload["outliers"]["kind"] for entry in entries if entry.kind == "indexed"} == {"raw", "half"}
    records = {(key, record.coder): archive for archive in archives for key, record in archive.manifest.stream_keys()}
    assert {coder for _, coder in records} == {"stored", "packed", "zstd", "huffman", "ans", "planes"}
    tables = {archive.streams[key][0] for (key, coder), archive in records.items() if coder == "ans"}
    assert tables == {0b000, 0b010, 0b100}
    assert {len(archive.manifest.ties) > 0 for archive in archives} == {True, False}
    assert {asset.nbytes == 0 for archive in archives for asset in archive.manifest.assets} == {True, False}
    assert len({entry.dtype for entry in entries}) >= 20
