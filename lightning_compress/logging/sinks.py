"""Where each logger stores scalars, tables, figures and a run's configuration."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import fsspec
import numpy as np

from lightning_compress.logging.logger_types import (
    Cell,
    FolderLogger,
    Image,
    ImageLogger,
    LightningLogger,
    MetricsFile,
    MLflowClient,
    MLflowLogger,
    Rows,
    SummaryWriter,
    TableLogger,
    WandbRun,
    experiment_of,
    is_placeholder,
    wandb_run_of,
)
from lightning_compress.logging.step import step_metric_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPPED = ("compression/*", "quality/*")  # metrics of a wandb run that are plotted against the logger's step


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


SinkFactory = Callable[[LightningLogger], Sink | None]


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


class TableSink(ScalarSink):
    """A logger with ``log_table``, and perhaps ``log_image``: Lightning's for Weights & Biases."""

    has_tables = True

    def __init__(self, logger: TableLogger) -> None:
        super().__init__(logger)
        self._tables = logger
        self._images = logger if isinstance(logger, ImageLogger) else None
        self.shows_figures = self._images is not None

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Log a ``wandb.Table``."""
        self._tables.log_table(key, columns=list(columns), data=[list(row) for row in rows], step=step)

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Log an image."""
        if self._images is not None:
            self._images.log_image(key, [_pixels(figure)], step=step)

    def wandb_run(self) -> WandbRun | None:
        """The logger's experiment, where that is a run."""
        return wandb_run_of(self._logger)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Update the run's configuration, and plot our metrics against the logger's step."""
        run = self.wandb_run()
        if run is None:
            return
        run.config.update(values, allow_val_change=True)
        step_metric = step_metric_of(self._logger)
        if step_metric is not None:
            for names in STEPPED:
                run.define_metric(names, step_metric=step_metric)


class TensorBoardSink(ScalarSink):
    """A logger whose experiment is a ``SummaryWriter``."""

    shows_figures = True

    def __init__(self, logger: LightningLogger, writer: SummaryWriter) -> None:
        super().__init__(logger)
        self._writer = writer

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Log a text that holds a Markdown table."""
        self._writer.add_text(key, _markdown(columns, rows), global_step=step)

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Log an image."""
        # add_figure would import pyplot, which has global state.
        self._writer.add_image(key, _pixels(figure), global_step=step, dataformats="HWC")


class MLflowSink(ScalarSink):
    """A logger whose experiment is an ``MlflowClient``: one artifact of the run for each key and step."""

    shows_figures = True

    def __init__(self, logger: MLflowLogger, client: MLflowClient) -> None:
        super().__init__(logger)
        self._client, self._run_id = client, logger.run_id

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Log ``KEY/STEP.json``."""
        data = {name: [row[k] for row in rows] for k, name in enumerate(columns)}
        self._client.log_table(self._run_id, data=data, artifact_file=f"{key}/{step}.json")

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Log ``KEY/STEP.png``."""
        self._client.log_figure(self._run_id, figure, artifact_file=f"{key}/{step}.png")


class FolderSink(ScalarSink):
    """A logger that writes files, such as ``CSVLogger``: tables and figures become files in its folder."""

    def __init__(self, logger: FolderLogger) -> None:
        super().__init__(logger)
        self._folder = logger.log_dir

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Write ``KEY/STEP.csv``."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        self._write(f"{key}/{step}.csv", text.getvalue().encode())

    def figure(self, key: str, figure: Figure, step: int) -> None:
        """Write ``KEY/STEP.png``."""
        image = io.BytesIO()
        figure.savefig(image, format="png")
        self._write(f"{key}/{step}.png", image.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        system, folder = fsspec.core.url_to_fs(self._folder)
        path = f"{folder}/{name}"
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, content)


def sink_of(logger: LightningLogger) -> Sink | None:
    """The sink of a logger; None for Lightning's ``DummyLogger``, which must not be given anything.

    Factories given to :func:`register_sink` are asked first, the newest first.

    Raises:
        Exception: whatever the logger raises when it cannot start its run.
    """
    if is_placeholder(logger):
        return None
    made = (factory(logger) for factory in _factories)
    return next((sink for sink in made if sink is not None), None)


def register_sink(factory: SinkFactory) -> SinkFactory:
    """Support the loggers of another package; also a decorator.

    Args:
        factory: the sink of a logger, or None for a logger that it does not know.
    """
    _factories.insert(0, factory)
    return factory


def _table_sink(logger: LightningLogger) -> Sink | None:
    return TableSink(logger) if isinstance(logger, TableLogger) else None


def _experiment_sink(logger: LightningLogger) -> Sink | None:
    experiment = experiment_of(logger)
    if isinstance(experiment, SummaryWriter):
        return TensorBoardSink(logger, experiment)
    if isinstance(experiment, MLflowClient) and isinstance(logger, MLflowLogger):
        return MLflowSink(logger, experiment)
    if isinstance(experiment, MetricsFile) and isinstance(logger, FolderLogger):
        return FolderSink(logger)
    return None


_factories: list[SinkFactory] = [_table_sink, _experiment_sink, ScalarSink]


def _pixels(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]


def _markdown(columns: Sequence[str], rows: Rows) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
