"""What opening a small file takes, whatever is in it, and that models of many tensors are read."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from each_case import naming
from forge import canonical, packed_envelope, with_header
from test_limits import measured

from lightning_compress.archive import Entry, Manifest, reader
from lightning_compress.archive.manifest.envelope import from_envelope, to_envelope
from lightning_compress.archive.manifest.spec import StreamRecord
from lightning_compress.errors import FormatError
from lightning_compress.garbage import collection_paused

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures time in a process of its own")
_SECONDS = 4.0  # a second on a quiet machine
RAW = {"kind": "raw"}
CHECKSUMS = "0" * 16


def _file(entries: list[Any], **more: Any) -> bytes:
    lists = {"classes": ["other"], "coders": [], "dtypes": ["float32"]}
    envelope = packed_envelope(canonical({"entries": entries, **lists, **more}), level=9)  # quicker, and small enough
    return with_header(envelope, [], b"", lock="0")


def _entries(count: int, shape: list[int], payload: dict[str, Any]) -> list[Any]:
    return [[f"{number:x}", shape, 0, 0, payload, [], 0, CHECKSUMS] for number in range(count)]


def _ties(count: int, dimensions: int) -> dict[str, Any]:
    sides = {"shape": [1] * dimensions, "stride": [1] * dimensions}
    return {f"t{number:x}": {"of": "0", "offset": 0, **sides} for number in range(count)}


HALF = {"kind": "half", "format": "bfloat16", "escapes": 0}
GROUPS = {"kind": "grid", "step": 0.5, "trellis": 0, "width": 1, "groups": [0] * 256}


@cache
def small_files() -> dict[str, bytes]:
    """As much of each as a small file can describe."""
    return {
        "tensors": _file(_entries(11_000, [0], RAW)),
        "tensors of another kind": _file(_entries(11_000, [0], HALF)),
        "tensors of 64 dimensions": _file(_entries(5_000, [0] * 64, RAW)),
        "tensors of 256 contexts": _file(_entries(1_500, [0, 2], GROUPS)),
        "ties": _file(_entries(1, [0], RAW), ties=_ties(11_000, 1)),
        "ties of 64 dimensions": _file(_entries(1, [0], RAW), ties=_ties(3_000, 64)),
        "values": _file(_entries(1, [0], RAW), metrics={"a": [[]] * 300_000}),
    }


@cache
def files_of_too_many() -> dict[str, bytes]:
    """More than a small file may describe."""
    return {
        "tensors": _file(_entries(20_000, [0], RAW)),
        "ties": _file(_entries(1, [0], RAW), ties=_ties(15_000, 1)),
    }


def _opened(data: bytes) -> bool:
    reader.parse(memoryview(data), "file")
    return True


def test_a_small_file_is_opened_or_refused_in_a_second() -> None:
    for name, data in [*small_files().items(), *((f"many {name}", data) for name, data in files_of_too_many().items())]:
        with naming(name):
            assert len(data) < 100_000
            found = measured(lambda data=data: _opened(data))  # type: ignore[misc]
            assert found["seconds"] < _SECONDS
            # A tie of an empty tensor has no element to begin at.
            assert found["outcome"] == ("FormatError" if "ties" in name or "many" in name else "read")


def test_more_tensors_than_bytes_could_describe_are_refused_in_a_sentence() -> None:
    for name, data in files_of_too_many().items():
        with (
            naming(name),
            pytest.raises(FormatError, match=r"describes \d+ tensors, ties and assets in \d+ packed bytes, expected"),
        ):
            _opened(data)


def test_manifests_of_thousands_of_tensors_are_written_and_read() -> None:
    """Also where all tensors are equal, so that their names alone tell them apart."""
    entry = Entry("", (2,), "float32", "other", RAW, (StreamRecord("values", "packed", 1),), 2, "0" * 8, "0" * 8)
    manifest = Manifest(tuple(replace(entry, name=f"layers.{number}.bias") for number in range(6_000)))
    assert from_envelope(to_envelope(manifest)) == manifest
    with pytest.raises(FormatError, match="describes 15000 tensors"):
        to_envelope(Manifest(tuple(replace(entry, name=f"{number}") for number in range(15_000))))


def test_the_collector_is_as_it_was_after_a_file_was_opened_or_refused() -> None:
    for was_on in (True, False):
        (gc.enable if was_on else gc.disable)()
        try:
            for data in (small_files()["tensors of 256 contexts"], files_of_too_many()["tensors"], b"other"):
                with naming((was_on, len(data))):
                    with suppress(FormatError):
                        _opened(data)
                    assert gc.isenabled() == was_on
        finally:
            gc.enable()


def test_a_pause_turns_the_collector_off() -> None:
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
