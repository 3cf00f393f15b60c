"""Manifests with random values replaced and a valid checksum: read as a valid file, or refused."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from forge import (
    Json,
    canonical,
    codes_of,
    forged,
    manifest_of,
    open_and_verify,
    packed,
    packed_envelope,
    sound,
    with_header,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_compress.archive import Archive, reader
from lightning_compress.errors import FormatError

SOUND = sound()
Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> list[Path]:
    """The path of every value in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, child in items for inner in _paths(child, (*path, key)))]


PATHS = _paths(manifest_of(SOUND))[1:]
PACKED_PATHS = _paths(packed(SOUND))[1:]
BODY = b"".join(codes_of(SOUND).values())
CHARACTERS = st.characters(exclude_categories=["Cs"])  # the default are these, found in two seconds
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 80),
    st.sampled_from([1 << 31, 1 << 48, 1 << 63, 1 << 64, -(1 << 63)]),
    st.floats(allow_nan=True),
    st.sampled_from(
        ["", "raw", "half", "indexed", "tied", "words", "values", "stored", "ans", "float32", "bool", "\ud800"]
    ),
    st.text(CHARACTERS, max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(CHARACTERS, max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _replace(manifest: Json, path: Path, value: Any) -> None:
    place: Any = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value


def _open_whole(data: bytes) -> None:
    """Everything that a reader can do with a file."""
    archive = Archive(*reader.parse(memoryview(data), "file"))
    archive.verify()
    assert set(archive.restore()) == set(archive.manifest.names)
    archive.assets()
    archive.report().by_class()


@pytest.mark.parametrize("version", [1, 4])
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(path=st.sampled_from(PATHS), value=VALUES)
@example(path=("ties", "tied", "shape"), value=[])
@example(path=("ties", "tied", "of"), value="half")
def test_any_value_replaced_is_refused_or_harmless(version: int, path: Path, value: Any) -> None:
    try:
        data = forged(SOUND, lambda manifest: _replace(manifest, path, value), version)
    except (OverflowError, ValueError):  # what JSON or a header cannot hold at all
        return
    with contextlib.suppress(FormatError):  # and nothing else
        _open_whole(data)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(path=st.sampled_from(PACKED_PATHS), value=VALUES)
def test_any_value_of_a_packed_manifest_replaced_is_refused_or_harmless(path: Path, value: Any) -> None:
    manifest = packed(SOUND)
    _replace(manifest, path, value)
    try:
        data = with_header(packed_envelope(canonical(manifest)), [("#small", len(BODY))], BODY)
    except (OverflowError, ValueError):
        return
    with contextlib.suppress(FormatError):
        _open_whole(data)


@pytest.mark.parametrize("version", [1, 4])
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(one=st.sampled_from(PATHS), other=st.sampled_from(PATHS))
def test_any_two_values_exchanged_are_refused_or_harmless(version: int, one: Path, other: Path) -> None:
    def exchange(manifest: Json) -> None:
        values = []
        for path in (one, other):
            place: Any = manifest
            for key in path:
                place = place[key]
            values.append(copy.deepcopy(place))
        if one != other[: len(one)] and other != one[: len(other)]:
            _replace(manifest, one, values[1])
            _replace(manifest, other, values[0])

    with contextlib.suppress(FormatError):
        _open_whole(forged(SOUND, exchange, version))


def test_the_unforged_file_is_read_completely() -> None:
    data = forged(SOUND, lambda manifest: None)
    _open_whole(data)
    open_and_verify(data)
