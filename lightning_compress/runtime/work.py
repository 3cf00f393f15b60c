"""What a computation takes, stated before it is started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """An upper bound of memory and time.

    Attributes:
        memory: bytes at the peak, beside what is given and what results.
        operations: elementary operations, about a nanosecond each.
    """

    memory: int
    operations: int

    def __add__(self, other: Work) -> Work:
        return Work(self.memory + other.memory, self.operations + other.operations)
