"""Stores words uncompressed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_compress.coding.coder import Statistics, Words, dtype_of
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work


class Stored:
    """The little-endian words, uncompressed."""

    id: ClassVar[str] = "stored"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """The exact size of the words."""
        return statistics.words.nbytes

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        return statistics.words.tobytes()

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        return Work(0, count)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        if len(data) != count * width:
            raise FormatError(f"a stored stream has {len(data)} bytes, expected {count} words of {width}")
        return np.frombuffer(data, dtype_of(width))
