"""The CRC-32 of a concatenation, computed from the CRC-32 of its parts."""

from __future__ import annotations

import runpy
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.archive import crc
from lightning_compress.archive.crc import checksum, joined


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(pieces=st.lists(st.binary(max_size=300), max_size=6))
def test_checksums_of_parts_are_combined(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert joined((checksum(piece), len(piece)) for piece in pieces) == checksum(whole) == f"{zlib.crc32(whole):08x}"


@pytest.mark.parametrize("nbytes", [1, 255, 65_536, 10_000_019])
def test_checksums_of_long_parts_are_combined(nbytes: int) -> None:
    one, other = b"before", bytes(nbytes)
    assert joined([(checksum(one), len(one)), (checksum(other), nbytes)]) == checksum(one + other)


def test_an_impossibly_large_size_takes_no_time() -> None:
    assert len(joined([("12345678", 1), ("00000000", 1 << 48)])) == 8


def test_zlib_takes_the_place_of_isal_where_that_has_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert crc.crc32 is not zlib.crc32, "isal is installed here"
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    again = runpy.run_path(str(crc.__file__))
    assert again["crc32"] is zlib.crc32
    assert again["checksum"](b"abc") == checksum(b"abc")
