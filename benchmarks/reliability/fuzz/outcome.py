"""What may become of an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

READ = "read"
MAX_BYTES = 1 << 16  # that a fuzzed file may restore to


class DisagreementError(Exception):
    """The package and the independent reader read different values."""


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        name: on the command line and in results.
        share: of all inputs.
        refusals: the errors that a bad input may end in.
        run: makes an input of random numbers and reads it. It returns if the input was read, else it raises.
    """

    name: str
    share: float
    refusals: tuple[type[Exception], ...]
    run: Callable[[Random], None]


def agree(ours: object, independent: Callable[[], object]) -> None:
    """Compare what the package has read with what the independent reader reads.

    Raises:
        DisagreementError: they differ, or the independent reader fails.
    """
    try:
        theirs = independent()
    except Exception as error:
        raise DisagreementError(f"the independent reader fails with {type(error).__name__}: {error}") from error
    if ours != theirs:
        raise DisagreementError(f"the package reads {ours!r:.200}, the independent reader {theirs!r:.200}")
