"""Messages of the log: written once in a process, however often what they tell of occurs, and short."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from logging import Logger

_MAX_LISTED = 5  # names in a message


@lru_cache(maxsize=4096)
def log_once(logger: Logger, level: int, message: str) -> None:
    """Write a message to the log, unless the same one was written before."""
    logger.log(level, "%s", message)


def listed(names: Sequence[str]) -> str:
    """The first five of the names, and how many more there are."""
    return ", ".join(names[:_MAX_LISTED]) + (f" and {len(names) - _MAX_LISTED} more" * (len(names) > _MAX_LISTED))
