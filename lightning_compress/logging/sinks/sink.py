"""What this package asks of a logger, and the sink of loggers that store scalars only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lightning_compress.logging.logger_types import LightningLogger, Rows, WandbRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Sink(Protocol):
    """Writes to one logger. What the logger cannot store is dropped.

    Attributes:
        has_tables: whether the logger has a table type of its own; otherwise a table becomes a text or a file.
        shows_figures: whether the logger displays figures.
    """

    has_tables: bool
    shows_figures: bool

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by their keys."""

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Log a table."""

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Log a figure."""

    def wandb_run(self) -> WandbRun | None:
        """The wandb run that the logger writes to, if any."""

    def configure(self, values: Mapping[str, Any]) -> None:
        """Write plain data into the run's configuration."""


class ScalarSink:
    """Any logger: it stores scalars only."""

    has_tables = False
    shows_figures = False

    def __init__(self, logger: LightningLogger) -> None:
        self._logger = logger

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by their keys."""
        self._logger.log_metrics(dict(values), step=step)

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Tables are dropped."""

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Figures are dropped."""

    def wandb_run(self) -> WandbRun | None:
        """There is none."""
        return None

    def configure(self, values: Mapping[str, Any]) -> None:
        """The configuration is dropped."""
