"""A run or a file as one page that needs no network: tables, charts, plan."""

from lightning_compress.report.collect import Findings, LeftOut, find
from lightning_compress.report.write import write_report

__all__ = ["Findings", "LeftOut", "find", "write_report"]
