"""What a compression is worth, told to whatever loggers a trainer has."""

from lightning_compress.logging.media import log_figure, log_table
from lightning_compress.logging.report import class_table, log_report, scalars
from lightning_compress.logging.step import logging_step

__all__ = ["class_table", "log_figure", "log_report", "log_table", "logging_step", "scalars"]
