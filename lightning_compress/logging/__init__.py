"""What a compression is worth, told to whatever loggers a trainer has."""

from lightning_compress.logging.artifacts import Artifacts, prune_artifacts
from lightning_compress.logging.media import log_figure, log_scalars, log_table
from lightning_compress.logging.pictures import log_pictures
from lightning_compress.logging.report import class_table, log_report, scalars
from lightning_compress.logging.runs import configure_runs, describe_runs, runs_of
from lightning_compress.logging.sensitivity import log_sensitivity, sensitivity_scalars
from lightning_compress.logging.step import logging_step
from lightning_compress.logging.uploads import Uploads

__all__ = [
    "Artifacts",
    "Uploads",
    "class_table",
    "configure_runs",
    "describe_runs",
    "log_figure",
    "log_pictures",
    "log_report",
    "log_scalars",
    "log_sensitivity",
    "log_table",
    "logging_step",
    "prune_artifacts",
    "runs_of",
    "scalars",
    "sensitivity_scalars",
]
