"""Loggers with the methods that ours use, which remember what they were given."""

from __future__ import annotations

from types import SimpleNamespace


class Panels:
    """As Lightning's logger for Weights & Biases."""

    def __init__(self) -> None:
        self.calls = []

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.calls.append((key, columns, data, step))

    def log_image(self, key, images, step=None, **kwargs):
        self.calls.append((key, images, step))


class TensorBoard:
    """As Lightning's logger for TensorBoard: its experiment is a ``SummaryWriter``."""

    def __init__(self) -> None:
        self.calls = []
        self.experiment = self

    def add_text(self, tag, text_string, global_step=None, walltime=None):
        self.calls.append((tag, text_string, global_step))

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        self.calls.append((tag, img_tensor, global_step, dataformats))


class Broken:
    """A logger whose run cannot be started."""

    @property
    def experiment(self):
        raise ConnectionError("no network")


def mlflow():
    """As Lightning's logger for MLflow, whose experiment is an ``MlflowClient``; and what the client was given."""
    calls = []
    client = SimpleNamespace(
        log_table=lambda run_id, data, artifact_file: calls.append((run_id, data, artifact_file)),
        log_figure=lambda run_id, figure, artifact_file: calls.append((run_id, figure, artifact_file)),
    )
    return SimpleNamespace(experiment=client, run_id="run-1"), calls
