"""Tables and pictures for every logger that can hold them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lightning_compress.logging.sinks import Rows, Sink, sink_of
from lightning_compress.runtime import preserved_random_state

_log = logging.getLogger(__name__)


def log_scalars(loggers: Iterable[Any], values: Mapping[str, float], step: int) -> None:
    """Log numbers to every logger; otherwise as :func:`log_table`."""
    with preserved_random_state():
        for logger in loggers:
            _try(logger, ", ".join(values), lambda logger: logger.log_metrics(dict(values), step=step))


def log_table(loggers: Iterable[Any], key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
    """Log a table to every logger that can hold one.

    Weights & Biases gets a ``wandb.Table``, TensorBoard a text, MLflow an artifact ``KEY/STEP.json``, Lightning's
    ``CSVLogger`` a file ``KEY/STEP.csv`` in its folder; any other logger nothing. One that fails is named in the Python
    log and does no harm. Random numbers are as before.

    Args:
        loggers: Lightning loggers, or none.
        key: such as ``compression/classes``.
        columns: one name a column.
        rows: one cell a column: text, numbers of one kind in a column, or None where nothing is known.
        step: as :func:`logging_step` gives it.
    """
    _tell(loggers, f"the table {key}", lambda sink: sink.table(key, columns, rows, step))


def log_figure(loggers: Iterable[Any], key: str, figure: Any, step: int) -> None:
    """Log a picture to every logger that can hold one.

    Weights & Biases and TensorBoard get an image, MLflow an artifact ``KEY/STEP.png``, Lightning's ``CSVLogger`` a file
    of that name in its folder; otherwise as :func:`log_table`.

    Args:
        loggers: Lightning loggers, or none.
        key: such as ``compression/frontier``.
        figure: a ``matplotlib.figure.Figure``; pyplot is not needed.
        step: as :func:`logging_step` gives it.
    """
    _tell(loggers, f"the picture {key}", lambda sink: sink.figure(key, figure, step))


def _tell(loggers: Iterable[Any], what: str, put: Callable[[Sink], None]) -> None:
    def put_into(logger: Any) -> None:
        sink = sink_of(logger)
        if sink is not None:
            put(sink)

    with preserved_random_state():
        for logger in loggers:
            _try(logger, what, put_into)


def _try(logger: Any, what: str, put: Callable[[Any], None]) -> None:
    try:
        put(logger)
    except Exception as error:
        _log.error("%s did not take %s, the training goes on: %r", type(logger).__name__, what, error)
