"""Messages that are written to the log once in a process, however often their cause occurs."""

from __future__ import annotations

from functools import lru_cache
from logging import Logger


@lru_cache(maxsize=4096)
def log_once(logger: Logger, level: int, message: str) -> None:
    """Write a message to the log, unless the same one was written before."""
    logger.log(level, "%s", message)
