"""Changes to a manifest that the tests of forged manifests share, and the check that a file is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from forge import Json, canonical, codes_of, forged, keys_of, manifest_of, open_and_verify, packed, sound

from lightning_compress.archive import reader
from lightning_compress.errors import CompressionError, FormatError

SOUND = sound()
VERSION_1 = forged(SOUND, lambda manifest: None, 1)
BODY = b"".join(codes_of(SOUND).values())
KEYS = keys_of(manifest_of(SOUND))
SMALL = [("#small", len(BODY))]
TEXT = canonical(packed(SOUND))
RAW, HALF, INDEXED = range(3)
Case = tuple[Callable[[Json], Any], type[FormatError], str]


def entry(number: int, **changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number].update(changes)


def payload(number: int, **changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number]["payload"].update(changes)


def outliers(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][INDEXED]["payload"]["outliers"].update(changes)


def stream(number: int, field: int, value: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number]["streams"][0].__setitem__(field, value)


def tie(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["ties"]["tied"].update(changes)


def asset(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["assets"][0].update(changes)


def top(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest.update(changes)


def without(*path: str | int) -> Callable[[Json], None]:
    def remove(manifest: Json) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return remove


def repeat_entry(manifest: Json) -> None:
    manifest["entries"].append(manifest["entries"][0])


def swap_streams(manifest: Json) -> None:
    manifest["entries"][HALF]["streams"].reverse()


def repeat_stream(manifest: Json) -> None:
    manifest["entries"][RAW]["streams"] *= 2


def chain(manifest: Json) -> None:
    manifest["ties"]["second"] = {"of": "tied", "offset": 0, "shape": [1], "stride": [1]}


def refused(data: bytes, error: type[FormatError], message: str) -> None:
    """Opening raises this error, and allocates little memory."""
    assert _error_in_little_memory(lambda: reader.parse(memoryview(data), "file"), error, message).startswith("file")


def refused_when_read(data: bytes, error: type[CompressionError], message: str) -> None:
    """Opening or reading raises this error, and allocates little memory."""
    with suppress(CompressionError):
        open_and_verify(data)  # compiles loops, or loads them
    _error_in_little_memory(lambda: open_and_verify(data), error, message)


def _error_in_little_memory(work: Callable[[], object], error: type[CompressionError], message: str) -> str:
    """The text of the error, which is of exactly this type."""
    tracemalloc.start()
    try:
        with pytest.raises(CompressionError, match=message) as caught:
            work()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    return str(caught.value)
