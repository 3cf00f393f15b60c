"""What a compression is worth, told to whatever loggers a trainer has."""

from lightning_compress.logging.report import class_table, log_report, scalars

__all__ = ["class_table", "log_report", "scalars"]
