"""The independent reader of tests/archive, which shares no code with the package, and the forge of tests/hostile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[3] / "tests"
sys.path += [str(TESTS / "archive"), str(TESTS / "hostile")]

import forge  # noqa: E402
from reference import reader as reference_reader  # noqa: E402

__all__ = ["forge", "tensor", "tensors", "words"]

Streams = dict[str, tuple[str, bytes]]


def tensor(payload: dict[str, Any], shape: list[int], dtype: str, streams: Streams) -> bytes:
    """The bytes of a tensor."""
    if payload["kind"] == "grid":
        return bytes(reference_reader._grid(payload, shape, dtype, streams))
    count = 1
    for size in shape:
        count *= size
    return bytes(reference_reader._restore(payload, count, dtype, streams))


def words(coder: str, data: bytes, count: int, width: int, groups: tuple[int, ...]) -> bytes:
    """The words of a coded stream."""
    return bytes(reference_reader.decode(coder, data, count, width, groups).tobytes())


def tensors(data: bytes) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    """The tensors of a file, given its bytes: shape, dtype and bytes of each."""
    return dict(reference_reader.read(_InMemory(data)).tensors)


class _InMemory:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_bytes(self) -> bytes:
        return self._data
