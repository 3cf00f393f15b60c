"""Scalars, tables and figures for every logger of a trainer: the one way from this package to a logger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lightning_compress.logging.failures import log_failure
from lightning_compress.logging.logger_types import LightningLogger, Rows
from lightning_compress.logging.sinks import Sink, sink_of
from lightning_compress.runtime import preserved_random_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def log_scalars(
    loggers: Iterable[LightningLogger],
    values: Mapping[str, float],
    step: int,
    what: str = "",
    *,
    epoch: int | None = None,
) -> None:
    """Log numbers to every logger; failures and random numbers as for :func:`log_table`.

    Args:
        loggers: Lightning loggers, or none.
        values: by their keys.
        step: as :func:`logging_step` gives it.
        what: the name of the values in an error message; all keys by default.
        epoch: logged beside them, as Lightning logs it beside its metrics.
    """
    logged = with_epoch(values, epoch)
    for_each_sink(loggers, f"did not accept {what or ', '.join(values)}", lambda sink: sink.scalars(logged, step))


def with_epoch(values: Mapping[str, float], epoch: int | None) -> dict[str, float]:
    """The values and, if it is known, the epoch under the key that Lightning gives it."""
    return dict(values) if epoch is None else {**values, "epoch": float(epoch)}


def log_table(loggers: Iterable[LightningLogger], key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
    """Log a table to every logger that can store one.

    Weights & Biases gets a ``wandb.Table``, TensorBoard a text, MLflow an artifact ``KEY/STEP.json``, Lightning's
    ``CSVLogger`` a file ``KEY/STEP.csv`` in its folder, and any other logger nothing. The failure of one logger is
    written to the Python log and does not affect the others. The state of all random number generators is preserved.

    Args:
        loggers: Lightning loggers, or none.
        key: such as ``compression/classes``.
        columns: the name of each column.
        rows: one cell for each column: text, a number, or None where the value is unknown. The numbers of a column
            have one type.
        step: as :func:`logging_step` gives it.
    """
    for_each_sink(loggers, f"did not accept the table {key}", lambda sink: sink.table(key, columns, rows, step))


def log_figure(loggers: Iterable[LightningLogger], key: str, figure: Figure, step: int) -> None:
    """Log a figure to every logger that can store one.

    Weights & Biases and TensorBoard get an image, MLflow an artifact ``KEY/STEP.png``, Lightning's ``CSVLogger`` a file
    of that name in its folder; otherwise as :func:`log_table`.

    Args:
        loggers: Lightning loggers, or none.
        key: such as ``compression/frontier``.
        figure: a ``matplotlib.figure.Figure``; pyplot is not needed.
        step: as :func:`logging_step` gives it.
    """
    for_each_sink(loggers, f"did not accept the figure {key}", lambda sink: sink.figure(key, figure, step))


def log_charts(
    loggers: Iterable[LightningLogger], what: str, draw: Callable[[], Iterator[tuple[str, Figure]]], step: int
) -> None:
    """Draw charts and log them to the loggers that display figures; without such a logger nothing is drawn.

    A chart that cannot be drawn, because matplotlib is missing for instance, is reported in the Python log, and those
    after it are not drawn. A folder of files does not display figures: ``lightning-compress report`` draws them.

    Args:
        loggers: Lightning loggers, or none.
        what: the name of the charts in an error message.
        draw: the key and the figure of each chart.
        step: as :func:`logging_step` gives it.
    """
    receivers = [logger for logger in loggers if shows_figures(logger)]
    if receivers:
        with log_failure(f"{what} were not drawn"), preserved_random_state():
            for key, figure in draw():
                log_figure(receivers, key, figure, step)


def shows_figures(logger: LightningLogger) -> bool:
    """Whether a logger displays figures; False also for one that fails, which is reported when it is written to."""
    sink = None
    with suppress(Exception):
        sink = sink_of(logger)
    return sink is not None and sink.shows_figures


def for_each_sink(loggers: Iterable[LightningLogger], failure: str, write: Callable[[Sink], None]) -> None:
    """Write to the sink of each logger; a failure is logged once, and random number generators keep their state.

    Args:
        loggers: Lightning loggers, or none; a ``DummyLogger`` is skipped.
        failure: what a logger that raised did, such as ``did not accept the table t``.
        write: called with each sink.
    """
    with preserved_random_state():
        for logger in loggers:
            with log_failure(f"{type(logger).__name__} {failure}", logger=logger):
                sink = sink_of(logger)
                if sink is not None:
                    write(sink)
