"""Failures while logging: they are written to the Python log, and training continues."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

_log = logging.getLogger(__name__)
_failures: WeakKeyDictionary[object, set[str]] = WeakKeyDictionary()


@contextmanager
def log_failure(what: str, level: int = logging.ERROR, *, logger: object = None) -> Iterator[None]:
    """Suppress an exception of the block, and write it to the Python log.

    Args:
        what: the failure as a sentence without its end, such as ``CSVLogger did not accept the table t``.
        level: of the log record.
        logger: the logger that failed; the same failure of it is written once.
    """
    try:
        yield
    except Exception as error:
        if logger is None or _is_new(logger, f"{what}: {error!r}"):
            _log.log(level, "%s, training continues: %r", what, error)


def _is_new(logger: object, failure: str) -> bool:
    """Whether this logger has not failed in this way before; True for one that cannot be remembered."""
    with suppress(TypeError):
        known = _failures.setdefault(logger, set())
        if failure in known:
            return False
        known.add(failure)
    return True
