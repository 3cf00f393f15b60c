"""Where a logger puts a table and a picture: Weights & Biases, TensorBoard, MLflow, or a folder of files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import fsspec
import numpy as np
from numpy.typing import NDArray

Cell = str | int | float | None
Rows = Sequence[Sequence[Cell]]


class Sink(Protocol):
    """Takes a table, and a ``matplotlib.figure.Figure``, under a key and at a step."""

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        """Put a table there."""

    def figure(self, key: str, figure: Any, step: int) -> None:
        """Put a picture there."""


def sink_of(logger: Any) -> Sink | None:
    """The sink of a Lightning logger, told by what it can do; None for one that knows scalars alone.

    A logger starts its run when it is first asked for it, and so may raise anything here.
    """
    if hasattr(logger, "log_table"):
        return _Panels(logger)
    experiment = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_image") and hasattr(experiment, "add_text"):
        return _TensorBoard(experiment)
    if hasattr(experiment, "log_figure") and hasattr(logger, "run_id"):
        return _MLflow(experiment, logger.run_id)
    if hasattr(experiment, "metrics_file_path"):
        return _Folder(logger.log_dir)
    return None


class _Panels:
    """A logger with ``log_table`` and ``log_image`` of its own: Lightning's for Weights & Biases."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        self._logger.log_table(key, columns=list(columns), data=[list(row) for row in rows], step=step)

    def figure(self, key: str, figure: Any, step: int) -> None:
        if hasattr(self._logger, "log_image"):
            self._logger.log_image(key, [_pixels(figure)], step=step)


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        self._writer.add_text(key, _markdown(columns, rows), global_step=step)

    def figure(self, key: str, figure: Any, step: int) -> None:
        # add_figure would bring pyplot, and its global state, into the training.
        self._writer.add_image(key, _pixels(figure), global_step=step, dataformats="HWC")


class _MLflow:
    """Artifacts of the run, one for each step."""

    def __init__(self, client: Any, run_id: str | None) -> None:
        self._client, self._run_id = client, run_id

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        data: Mapping[str, list[Cell]] = {name: [row[k] for row in rows] for k, name in enumerate(columns)}
        self._client.log_table(self._run_id, data=data, artifact_file=f"{key}/{step}.json")

    def figure(self, key: str, figure: Any, step: int) -> None:
        self._client.log_figure(self._run_id, figure, artifact_file=f"{key}/{step}.png")


class _Folder:
    """Files ``KEY/STEP.csv`` and ``KEY/STEP.png`` in the folder of a logger that writes files."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def table(self, key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        self._write(f"{key}/{step}.csv", text.getvalue().encode())

    def figure(self, key: str, figure: Any, step: int) -> None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        self._write(f"{key}/{step}.png", picture.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        system, folder = fsspec.core.url_to_fs(self._folder)
        path = f"{folder}/{name}"
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, content)


def _pixels(figure: Any) -> NDArray[np.uint8]:
    """The figure drawn: ``[height, width, 3]``, red, green and blue."""
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
