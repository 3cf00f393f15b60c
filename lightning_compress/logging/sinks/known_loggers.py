"""Where the loggers that this package knows store tables, figures and a run's configuration."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np

from lightning_compress.logging.logger_types import (
    Cell,
    FolderLogger,
    Image,
    ImageLogger,
    LightningLogger,
    MLflowClient,
    MLflowLogger,
    Rows,
    SummaryWriter,
    TableLogger,
    WandbRun,
    wandb_run_of,
)
from lightning_compress.logging.sinks.sink import ScalarSink
from lightning_compress.logging.step import step_metric_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPPED = (
    "compression/*",
    "quality/*",
    "sensitivity/*",
    "training/*",
)  # metrics of a wandb run that are plotted against the logger's step


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
