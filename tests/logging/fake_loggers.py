"""Loggers with the methods of well-known ones, which remember their calls."""

from __future__ import annotations

from types import SimpleNamespace


class ScalarLogger:
    """Stores scalars only."""

    def __init__(self) -> None:
        self.calls = []

    def log_metrics(self, metrics, step=None):
        self.calls.append((metrics, step))


class TableLogger(ScalarLogger):
    """Stores tables too."""

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.calls.append((key, columns, data, step))


class ImageLogger(TableLogger):
    """Stores tables and images, as Lightning's logger for Weights & Biases."""

    def log_image(self, key, images, step=None, **kwargs):
        self.calls.append((key, images, step))


class TensorBoard(ScalarLogger):
    """As Lightning's logger for TensorBoard: its experiment is a ``SummaryWriter``."""

    def __init__(self) -> None:
        super().__init__()
        self.experiment = self

    def add_text(self, tag, text_string, global_step=None, walltime=None):
        self.calls.append((tag, text_string, global_step))

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        self.calls.append((tag, img_tensor, global_step, dataformats))


class MLflow(ScalarLogger):
    """As Lightning's logger for MLflow: its experiment is an ``MlflowClient``."""

    run_id = "run-1"

    def __init__(self) -> None:
        super().__init__()
        self.experiment = SimpleNamespace(
            log_table=lambda run_id, data, artifact_file: self.calls.append((run_id, data, artifact_file)),
            log_figure=lambda run_id, figure, artifact_file: self.calls.append((run_id, figure, artifact_file)),
        )


class Broken(TableLogger):
    """A logger whose run cannot be started."""

    @property
    def experiment(self):
        raise ConnectionError("no network")

    def log_metrics(self, metrics, step=None):
        return self.experiment

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        return self.experiment

    def log_image(self, key, images, step=None, **kwargs):
        return self.experiment


class BrokenExperiment(ScalarLogger):
    """A logger without tables whose run cannot be started."""

    @property
    def experiment(self):
        raise ConnectionError("no network")
