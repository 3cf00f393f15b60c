"""Failures while logging: they are written to the Python log, and training continues."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)


@contextmanager
def log_failure(what: str, level: int = logging.ERROR) -> Iterator[None]:
    """Suppress an exception of the block, and write it to the Python log.

    Args:
        what: the failure as a sentence without its end, such as ``CSVLogger did not accept the table t``.
        level: of the log record.
    """
    try:
        yield
    except Exception as error:
        _log.log(level, "%s, training continues: %r", what, error)
