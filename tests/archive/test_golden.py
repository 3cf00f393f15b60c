"""Golden files must stay readable: by the package, and by the reference reader, written from the specification."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import golden_models
import pytest
import torch
import write_golden
import zstandard
from golden_models import FILES, FOLDER, MODELS
from reference import reader as reference_reader
from torch import Tensor

from lightning_compress.archive import Archive, Entry
from lightning_compress.archive.manifest.spec import FORMAT_VERSION
from lightning_compress.quantize import PAYLOADS
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
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


def _codes(entry: Entry, body: bytes | memoryview) -> Iterator[bytes]:
    """The code of each stream."""
    start = 0
    for record in entry.streams:
        yield bytes(body[start : start + record.nbytes])
        start += record.nbytes


def test_every_golden_file_is_there_and_no_other() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 700_000


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(sys.byteorder == "big", reason="the reference compares words of this machine")
def test_the_package_and_the_reference_reader_agree(name: str) -> None:
    archive, reference = Archive.open(FOLDER / name), reference_reader.read(FOLDER / name)
    restored = {tensor_name: _plain(tensor) for tensor_name, tensor in archive.restore().items()}
    assert restored == reference.tensors
    assert archive.assets() == reference.assets
    assert list(archive.manifest.names) == list(reference.tensors)
    for key in ("hyper_parameters", "checkpoint"):
        held = getattr(archive.manifest, key)
        assert held == reference.manifest.get(key, {})
        assert [*held] == [*reference.manifest.get(key, {})]
    assert {e.name: e.reason for e in archive.manifest.entries if e.reason} == reference.manifest.get("reasons", {})
    archive.verify()


# Which points and factors "methods" has depends on the last bits of sums that libraries of linear algebra make.
@pytest.mark.parametrize("model", [model for model in MODELS if model != "methods"])
def test_the_current_writer_reproduces_the_newest_file(model: str, tmp_path: Path) -> None:
    if _libraries() != _LIBRARIES:
        pytest.skip("this build of zlib or Zstandard codes differently from that of the golden files")
    build, newest = MODELS[model]
    golden, archive = FOLDER / f"{model}.{newest}.safetensors", build()
    of_golden = Archive.open(golden).manifest.fingerprint
    if not of_golden.startswith("blake3:"):  # all else is as when fingerprints were SHA-256
        archive = replace(archive, manifest=replace(archive.manifest, fingerprint=of_golden))
    archive.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == golden.read_bytes()


@pytest.mark.parametrize("model", ["dtypes", "coders"])
def test_lossless_golden_files_restore_their_models(model: str) -> None:
    build, newest = MODELS[model]
    restored = Archive.open(FOLDER / f"{model}.{newest}.safetensors").restore()
    source = build().restore()
    assert {name: _plain(tensor) for name, tensor in restored.items()} == {n: _plain(t) for n, t in source.items()}


@pytest.mark.parametrize("name", [name for name in FILES if ".1." in name or ".2." in name])
def test_a_file_of_an_older_version_is_saved_in_the_newest(name: str, tmp_path: Path) -> None:
    old = Archive.open(FOLDER / name)
    assert (old.manifest.format_version, old.nbytes) == (int(name.split(".")[1]), (FOLDER / name).stat().st_size)
    path = tmp_path / "again.safetensors"
    assert old.save(path) == path.stat().st_size
    assert path.stat().st_size < old.nbytes or old.manifest.format_version > 1
    again = Archive.open(path)
    assert again.manifest == replace(old.manifest, format_version=FORMAT_VERSION)
    assert list(again.manifest.hyper_parameters) == list(old.manifest.hyper_parameters)
    assert {n: _plain(t) for n, t in again.restore().items()} == {n: _plain(t) for n, t in old.restore().items()}
    assert again.assets() == old.assets()
    reference = reference_reader.read(path)
    assert reference.tensors == reference_reader.read(FOLDER / name).tensors


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_ties_of_the_golden_file_share_memory(number: int) -> None:
    restored = Archive.open(FOLDER / f"ties.{number}.safetensors").restore()
    base = restored["embedding.weight"]
    assert torch.equal(restored["transposed"], base.t())
    assert torch.equal(restored["rows"], base[2:5])
    assert torch.equal(restored["every other"], base.reshape(-1)[1:].as_strided((20, 8), (16, 2)))
    base.zero_()
    for name in ("softmax.weight", "transposed", "rows", "every other", "one", "repeated"):
        assert not restored[name].any(), name


def test_the_script_writes_missing_files_and_overwrites_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: MODELS[name] for name in ("ties", "dtypes")}
    monkeypatch.setattr(write_golden, "FOLDER", tmp_path)
    monkeypatch.setattr(write_golden, "MODELS", some)
    kept = tmp_path / f"ties.{some['ties'][1]}.safetensors"
    kept.write_bytes(b"kept as it is")
    write_golden.main()
    write_golden.main()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{newest}.safetensors" for name, (_, newest) in some.items()
    }
    assert kept.read_bytes() == b"kept as it is"
    assert reference_reader.read(tmp_path / f"dtypes.{some['dtypes'][1]}.safetensors").tensors


def test_golden_files_cover_every_payload_coder_and_kind_of_table() -> None:
    archives = [Archive.open(FOLDER / name) for name in FILES]
    entries = [entry for archive in archives for entry in archive.manifest.entries]
    assert {entry.kind for entry in entries} == set(PAYLOADS)
    grids = [entry.payload for entry in entries if entry.kind == "grid"]
    assert {grid["trellis"] for grid in grids} == {0, *TRELLISES}
    assert {(grid["trellis"] > 0, "exponent" in grid) for grid in grids if "offset" in grid} >= {
        (False, False),
        (True, False),
        (True, True),
    }
    assert {"rows", "columns"} == {side for grid in grids for side in grid.get("classes", ())}
    assert {entry.payload["positions"] for entry in entries if entry.kind == "sparse"} == {"gaps", "bitmap"}
    assert {"scales" in entry.payload for entry in entries if entry.kind == "codebook"} == {True, False}
    assert {entry.payload["outliers"]["kind"] for entry in entries if entry.kind == "indexed"} == {"raw", "half"}
    coded = [
        (record.coder, code)
        for archive in archives
        for entry in archive.manifest.entries
        for record, code in zip(entry.streams, _codes(entry, archive.streams[entry.key]), strict=True)
    ]
    assert {coder for coder, _ in coded} == {
        "stored",
        "packed",
        "zstd",
        "huffman",
        "ans",
        "contexts",
        "planes",
        "lanes",
    }
    assert {code[0] for coder, code in coded if coder == "ans"} == {0b000, 0b010, 0b100}
    forms = [(code[0], code[1] if code[0] & 8 else 0) for coder, code in coded if coder == "lanes"]
    assert {first & 7 for first, _ in forms} >= {0, 1}, "lanes"
    assert {first >> 4 & 3 for first, _ in forms} == {2, 3}, "precisions that are written"
    assert {first >> 6 for first, _ in forms} == {0b00, 0b01, 0b11}, "table, adaptive, limited"
    assert {(second >> 7, (second & 127) > 0) for _, second in forms} >= {(0, False), (1, True)}, "low bits"
    assert {archive.manifest.format_version for archive in archives} == {1, 2, 3, 4}
    assert {key for archive in archives for key, nbytes in archive.manifest.parts() if nbytes >= 1 << 16} == {
        "###large"
    }
    assert {len(archive.manifest.ties) > 0 for archive in archives} == {True, False}
    assert {asset.nbytes == 0 for archive in archives for asset in archive.manifest.assets} == {True, False}
    assert len({entry.dtype for entry in entries}) >= 20
