"""Messages about exports in the background; each is logged once in a process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lightning_compress.callbacks.export.background.messages import LogRecord
from lightning_compress.messages.log_once import log_once

_log = logging.getLogger(__name__)


def tell(message: str) -> None:
    """Log a warning."""
    log_once(_log, logging.WARNING, message)


def tell_inline(reason: str) -> None:
    """Say why exports are not carried out in the background."""
    tell(f"companion files are written in the training process, which waits for them: {reason}")


def relay(log: Sequence[LogRecord]) -> None:
    """Write the messages of the worker to the log of this process."""
    for record in log:
        log_once(logging.getLogger(record.logger), record.level, record.text)
