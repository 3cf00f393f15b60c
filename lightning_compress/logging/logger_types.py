"""What this package uses of loggers and of the objects they write to. No logger's package is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None
Rows = Sequence[Sequence[Cell]]
Image = NDArray[np.uint8]  # [height, width, 3], red, green and blue

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class LightningLogger(Protocol):
    """Any logger. What its ``experiment`` is depends on the package that it writes to."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log scalars at a step."""


@runtime_checkable
class TableLogger(LightningLogger, Protocol):
    """A logger with a table type of its own."""

    def log_table(self, key: str, columns: list[str], data: list[list[Cell]], *, step: int) -> None:
        """Log a table: a list of cells for each row."""


@runtime_checkable
class ImageLogger(Protocol):
    """A logger that displays images."""

    def log_image(self, key: str, images: list[Image], *, step: int) -> None:
        """Log images under one key."""


@runtime_checkable
class MLflowLogger(LightningLogger, Protocol):
    """A logger that writes to a run of MLflow."""

    @property
    def run_id(self) -> str | None:
        """The run's id."""


@runtime_checkable
class FolderLogger(LightningLogger, Protocol):
    """A logger that writes to a folder."""

    @property
    def log_dir(self) -> str:
        """The folder, a local path or a URL."""


@runtime_checkable
class SummaryWriter(Protocol):
    """The experiment of a TensorBoard logger."""

    def add_text(self, tag: str, text_string: str, *, global_step: int) -> None:
        """Log a text in Markdown."""

    def add_image(self, tag: str, img_tensor: Image, *, global_step: int, dataformats: str) -> None:
        """Log an image."""


@runtime_checkable
class MLflowClient(Protocol):
    """The experiment of an MLflow logger."""

    def log_table(self, run_id: str | None, data: dict[str, list[Cell]], artifact_file: str) -> None:
        """Log a table, given by columns, as an artifact."""

    def log_figure(self, run_id: str | None, figure: Figure, artifact_file: str) -> None:
        """Log a figure as an artifact."""


@runtime_checkable
class MetricsFile(Protocol):
    """The experiment of a logger that writes metrics to one file, as Lightning's ``CSVLogger`` does."""

    @property
    def metrics_file_path(self) -> str:
        """The file."""


class WandbConfig(Protocol):
    """The configuration of a ``wandb.Run``."""

    def update(self, values: Mapping[str, Any], allow_val_change: bool) -> None:
        """Set values, also of keys that already have one."""


class LoggedArtifact(Protocol):
    """An artifact whose upload has started."""

    def wait(self) -> object:
        """Block until the upload is complete."""


@runtime_checkable
class MetricDefiner(Protocol):
    """The experiment of a logger for Weights & Biases: this method tells it from other experiments."""

    def define_metric(self, name: str, step_metric: str) -> object:
        """Set the horizontal axis of the metrics whose names match a pattern."""


class WandbRun(MetricDefiner, Protocol):
    """A ``wandb.Run``."""

    @property
    def config(self) -> WandbConfig:
        """The run's configuration."""

    @property
    def id(self) -> str:
        """The run's id."""

    @property
    def entity(self) -> str:
        """The user or team that owns the project."""

    @property
    def project(self) -> str:
        """The project's name."""

    def log_artifact(self, artifact: object, *, aliases: list[str]) -> LoggedArtifact:
        """Add an artifact as a new version, and start its upload."""


def lightning_classes(module: str, name: str) -> tuple[type, ...]:
    """The class of this name in each of Lightning's two packages that is already imported.

    Args:
        module: below ``loggers``, such as ``wandb``.
        name: such as ``WandbLogger``.
    """
    modules = (sys.modules.get(f"{package}.loggers.{module}") for package in _PACKAGES)
    found = (getattr(imported, name, None) for imported in modules)
    return tuple(candidate for candidate in found if isinstance(candidate, type))


def is_placeholder(candidate: object) -> bool:
    """Whether this is Lightning's ``DummyLogger`` or ``DummyExperiment``.

    ``fast_dev_run`` and the tuner replace the trainer's loggers by a ``DummyLogger``. On ranks other than 0 the
    ``experiment`` of a logger is a ``DummyExperiment``. Both answer to every attribute name and do nothing, so they
    would pass for a logger of any kind.
    """
    loggers, experiments = (lightning_classes("logger", name) for name in ("DummyLogger", "DummyExperiment"))
    return isinstance(candidate, (*loggers, *experiments))


def experiment_of(logger: LightningLogger) -> object:
    """The object that a logger writes to, such as a ``SummaryWriter``; None where there is none.

    Raises:
        Exception: whatever the logger raises when it cannot start its run.
    """
    experiment: object = getattr(logger, "experiment", None)
    return None if is_placeholder(experiment) else experiment


def wandb_run_of(logger: LightningLogger) -> WandbRun | None:
    """The run of a logger whose experiment is one of Weights & Biases.

    Raises:
        Exception: as for :func:`experiment_of`.
    """
    experiment = experiment_of(logger)
    return cast(WandbRun, experiment) if isinstance(experiment, MetricDefiner) else None
