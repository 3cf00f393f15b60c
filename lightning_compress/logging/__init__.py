"""Logging of compressed files and measurements to every logger of a Lightning trainer."""

from lightning_compress.logging.broadcast import log_figure, log_scalars, log_table
from lightning_compress.logging.report import class_table, log_report, log_report_charts, report_scalars
from lightning_compress.logging.sensitivity import log_sensitivity, sensitivity_scalars
from lightning_compress.logging.sinks import Sink, register_sink, sink_of
from lightning_compress.logging.step import logging_step, step_metric_of
from lightning_compress.logging.wandb_runs import (
    Artifacts,
    Uploads,
    configure_runs,
    describe_runs,
    prune_artifacts,
    runs_of,
)

__all__ = [
    "Artifacts",
    "Sink",
    "Uploads",
    "class_table",
    "configure_runs",
    "describe_runs",
    "log_figure",
    "log_report",
    "log_report_charts",
    "log_scalars",
    "log_sensitivity",
    "log_table",
    "logging_step",
    "prune_artifacts",
    "register_sink",
    "report_scalars",
    "runs_of",
    "sensitivity_scalars",
    "sink_of",
    "step_metric_of",
]
