"""What may become of an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

READ = "read"
MAX_BYTES = 1 << 16  # that a fuzzed file may restore to


class DisagreementError(Exception):
    """The package reads something else than it should."""


Comparison = Callable[[], None]


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        name: on the command line and in results.
        share: of all inputs.
        refusals: the errors that a bad input may end in.
        run: makes an input of random numbers and reads it, or raises. It returns the comparison of what was read with
            what it should be, which takes longer and is not measured.
    """

    name: str
    share: float
    refusals: tuple[type[Exception], ...]
    run: Callable[[Random], Comparison]


def same(ours: object, expected: Callable[[], object]) -> Comparison:
    """A comparison of what the package has read with what the independent reader reads, or a writer makes.

    It raises a DisagreementError if they differ, or if the other one fails.
    """

    def compare() -> None:
        try:
            theirs = expected()
        except Exception as error:
            raise DisagreementError(f"{type(error).__name__} where the package reads: {error}") from error
        if ours != theirs:
            raise DisagreementError(f"the package reads {ours!r:.200}, expected {theirs!r:.200}")

    return compare
