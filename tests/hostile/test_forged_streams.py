"""Forged streams under a consistent manifest: refused during decoding, before much memory is allocated."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from forge import Json, by_hand, forged, forged_stream, open_and_verify, sound, stored_words
from fresh_process import in_fresh_process
from little_memory import verify_in_little_memory
from tampering import refused_when_read

from lightning_compress import Half, Plan, Prune, Rule, compress
from lightning_compress.archive import reader
from lightning_compress.coding import CODERS, Statistics
from lightning_compress.errors import ChecksumError, CompressionError, FormatError, VersionError
from lightning_compress.quantize import DTYPES

SOUND = sound()
RESTORED = SOUND.restore()


def _deflated(data: bytes, times: int = 1) -> bytes:
    """The DEFLATE code of the data, repeated as often; each repetition is a block of its own."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    before = (deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)) * (times - 1)
    return before + deflate.compress(data) + deflate.flush()


def _zstd(data: bytes, announced: int | None = None) -> bytes:
    """A Zstandard frame; with ``announced``, the frame claims this false content size in four bytes."""
    if announced is None:
        return zstandard.ZstdCompressor().compress(data)
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(data)
    assert frame[4] == 0, "a frame without content size, with its window"
    return frame[:4] + b"\xa0" + announced.to_bytes(4, "little") + frame[6:]


def _ans(words: list[int]) -> bytes:
    return CODERS["ans"].encode(Statistics(np.array(words, np.uint8)))


def _planes(*codes: tuple[int, bytes]) -> bytes:
    return b"\0" + b"".join(bytes([number, len(code)]) + code for number, code in codes)


HALVES, INDICES, GAPS = ("half", "values"), ("indexed", "indices"), ("half", "escape_gaps")
RAW = ("raw", "values")
CASES: dict[str, tuple[tuple[str, str], str, bytes, str]] = {
    "nothing at all": (RAW, "stored", b"", "expected 40 words"),
    "a word too few": (RAW, "stored", bytes(156), "expected 40 words"),
    "a word too many": (RAW, "stored", bytes(164), "expected 40 words"),
    "packed in too many bits": (RAW, "packed", b"\x21" + bytes(200), "expected 40 words of at most 32 bits"),
    "packed without words": (RAW, "packed", b"\x05", "expected 40 words"),
    "another coder": (RAW, "zstd", b"\x05" + bytes(25), "Zstandard"),
    "zstd of fewer words": (RAW, "zstd", _zstd(bytes(156)), "announces 156 bytes"),
    "zstd of a gigabyte": (RAW, "zstd", _zstd(bytes(100), 1 << 30), "announces 1073741824 bytes"),
    "zstd of unknown size": (
        RAW,
        "zstd",
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(160)),
        "announces",
    ),
    "zstd of less than it announces": (RAW, "zstd", _zstd(bytes(100), 160), "damaged"),
    "zstd of more than it announces": (RAW, "zstd", _zstd(bytes(10_000_000), 160), "damaged"),
    "two zstd frames": (RAW, "zstd", _zstd(bytes(160)) + _zstd(bytes(160)), "damaged"),
    "huffman of wide words": (RAW, "huffman", _deflated(bytes(160)), "expected 40 words of 4"),
    "huffman of a hundred megabytes": (INDICES, "huffman", _deflated(bytes(1_000_000), 100), "expected 40 words"),
    "huffman with bytes behind it": (INDICES, "huffman", _deflated(bytes(40)) + b"x", "expected 40 words"),
    "huffman without an end": (INDICES, "huffman", _deflated(bytes(range(40)))[:-2], "expected 40 words"),
    "ans of fewer words": (INDICES, "ans", _ans([0, 1, 2, 1] * 9), "0 indices are marked as outliers, and 4"),
    "ans of more words": (INDICES, "ans", _ans([0, 1, 2, 1] * 20), "holds more than its symbols"),
    "ans of a million words": (INDICES, "ans", _ans([0, 1, 2, 3] * 250_000), "holds more than its symbols"),
    "ans of one symbol": (INDICES, "ans", b"\x00\x01\x01\x01", "at least two"),
    "planes in planes": (HALVES, "planes", _planes((7, b"\0"), (0, bytes(40))), "no coder that this version knows"),
    "planes too few": (HALVES, "planes", _planes((0, bytes(40))), "plane 1"),
    "planes too many": (HALVES, "planes", _planes(*[(0, bytes(40))] * 3), "follow the last byte plane"),
    "planes turned twice": (HALVES, "planes", b"\x02" + _planes(*[(0, bytes(40))] * 2)[1:], "rotation"),
    "a plane longer than the stream": (HALVES, "planes", b"\0\0\x7f" + bytes(40), "127 bytes, and 40 are left"),
    "an index beyond the codebook": (INDICES, "stored", bytes([10] + [0] * 39), "index 10 stands in a codebook of 10"),
    "the largest index": (INDICES, "stored", bytes([255] * 40), "index 255"),
    "an outlier fewer": (INDICES, "stored", bytes([9] * 3 + [8] * 37), "3 indices are marked as outliers, and 4"),
    "an outlier more": (INDICES, "stored", bytes([9] * 5 + [8] * 35), "5 indices are marked as outliers, and 4"),
    "an escape at the end": (GAPS, "stored", stored_words([39, 0], 8), "element 40, in a tensor of 40"),
    "an escape far away": (GAPS, "stored", stored_words([0, 1 << 62], 8), "in a tensor of 40"),
    "an escape before the start": (GAPS, "stored", stored_words([0, (1 << 64) - 2], 8), "in a tensor of 40"),
    "an outlier escape too far": (("indexed", "outlier_escape_gaps"), "stored", stored_words([3, 0], 8), "tensor of 4"),
}


def _refuses_in_little_memory(data: bytes, error: type[CompressionError], message: str) -> None:
    reader.parse(memoryview(data), "file")
    refused_when_read(data, error, message)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_stream_that_does_not_fit_is_refused(case: str, version: int) -> None:
    (name, stream), coder, data, message = CASES[case]
    _refuses_in_little_memory(forged_stream(SOUND, name, stream, coder, data, version), FormatError, message)


@pytest.mark.parametrize("name", ["raw", "half", "indexed"])
def test_values_that_are_not_those_of_the_checksum_are_refused(name: str) -> None:
    def other_checksum(manifest: Json) -> None:
        entry = next(entry for entry in manifest["entries"] if entry["name"] == name)
        entry["crc32"] = "00000000"

    _refuses_in_little_memory(forged(SOUND, other_checksum), ChecksumError, f"'{name}' does not restore to the values")


def test_sound_codes_of_other_values_are_refused() -> None:
    data = forged_stream(SOUND, "indexed", "indices", "stored", bytes([9, 9, 9, 9] + [3] * 36))
    _refuses_in_little_memory(data, ChecksumError, "'indexed' does not restore")


@pytest.mark.parametrize("first", [1e308, -1e308, 5e-324])
def test_a_codebook_that_overflows_restores_to_other_values(first: float) -> None:
    def overflow(manifest: Json) -> None:
        manifest["entries"][2]["payload"] |= {"first": first, "step": 1e308}

    _refuses_in_little_memory(forged(SOUND, overflow), ChecksumError, "'indexed' does not restore")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_parameter_that_the_payload_does_not_have_is_refused(number: int) -> None:
    def smuggle(manifest: Json) -> None:
        manifest["entries"][number]["payload"]["code"] = "print()"

    _refuses_in_little_memory(forged(SOUND, smuggle), FormatError, "parameters that no")


@pytest.mark.parametrize("nbytes", [0, 1, 31, 33, 1_000_000])
def test_an_asset_of_another_size_is_refused(nbytes: int) -> None:
    def resize(manifest: Json) -> None:
        manifest["assets"][0]["bytes"] = nbytes

    _refuses_in_little_memory(forged(SOUND, resize), FormatError, "'words'")


def test_an_asset_of_other_content_is_refused() -> None:
    def other_checksum(manifest: Json) -> None:
        manifest["assets"][0]["crc32"] = "00000000"

    _refuses_in_little_memory(forged(SOUND, other_checksum), ChecksumError, "asset 'words'")


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [[8], [0], [0, 3], [1] * 63 + [8]], ids=["eight", "empty", "empty rows", "deep"])
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_every_payload_of_every_dtype_is_restored_or_refused(name: str, shape: list[int]) -> None:
    """Whatever the combination of payload and dtype, only errors of this package are raised."""
    nothing, index = 0 in shape, {"kind": "indexed", "first": 0.5, "step": 0.5, "levels": 4}
    files: list[tuple[Json, dict[str, tuple[str, bytes]]]] = [
        ({"kind": "raw"}, {"values": ("stored", bytes(8 * DTYPES[name].itemsize))}),
        ({"kind": "half", "format": "float16", "escapes": 0}, {"values": ("stored", bytes(16))}),
        (index | {"outliers": {"kind": "raw", "count": 0}}, {"indices": ("stored", bytes([0, 1, 2, 3, 4, 3, 2, 1]))}),
    ]
    for payload, streams in files:
        with pytest.raises((FormatError, ChecksumError, VersionError)):
            open_and_verify(by_hand(shape, name, payload, {} if nothing else streams, crc32="12345678"))


HUGE: dict[str, Callable[[Json], Any]] = {
    "raw": lambda manifest: manifest["entries"][0].update(shape=[(1 << 30) - 1000], dtype="uint8"),
    "half": lambda manifest: manifest["entries"][1].update(shape=[(1 << 27) - 1000]),
    "indexed": lambda manifest: manifest["entries"][2].update(shape=[(1 << 28) - 1000]),
    "asset": lambda manifest: manifest["assets"][0].update(bytes=(1 << 30) - 10_000),
}


@pytest.mark.parametrize("part", HUGE)
def test_sizes_just_within_the_limit_allocate_nothing_before_the_stream_is_checked(part: str) -> None:
    """A gigabyte is allowed by default; streams too short to hold it are refused before it is allocated."""
    _refuses_in_little_memory(forged(SOUND, HUGE[part]), FormatError, "expected|announces|operations")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process as Linux does")
def test_hostile_files_are_refused_by_a_process_with_little_memory(tmp_path: Path) -> None:
    """The limit is 64 MiB above the memory after imports; this finds bombs outside the allocations of numpy, too."""
    bombs = {f"huge {part}": forged(SOUND, tamper) for part, tamper in HUGE.items()}
    bombs |= {
        case: forged_stream(SOUND, *CASES[case][0], *CASES[case][1:3])
        for case in ("zstd of a gigabyte", "zstd of more than it announces", "huffman of a hundred megabytes")
    }
    bombs["huge shape"] = forged(SOUND, lambda manifest: manifest["entries"][0].update(shape=[1 << 40]))
    bombs["huge header"] = (100_000_000).to_bytes(8, "little") + b'{"__metadata__":{"lightning_compress":"'
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    found = in_fresh_process(verify_in_little_memory, tmp_path)
    outcomes = {name: outcome for name, (outcome, _) in found.items()}
    assert outcomes == {name: "TruncatedError" if name == "huge header" else "FormatError" for name in bombs}
    assert max(seconds for _, seconds in found.values()) < 1


def test_a_small_file_may_restore_to_a_large_tensor_up_to_the_limit() -> None:
    """Valid files of little information are read: a tensor whose weights are all pruned."""
    archive = compress({"weight": torch.zeros(2000, 1000)}, Plan(Rule("*", Prune(1.0), Half())))
    assert archive.nbytes < 2000
    assert not archive.restore()["weight"].any()
