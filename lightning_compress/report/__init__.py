"""A self-contained HTML page about a run or a file: tables, charts, plan."""

from lightning_compress.report.contents import ReportContents, UnreadableFile, collect
from lightning_compress.report.write import default_page, write_report

__all__ = ["ReportContents", "UnreadableFile", "collect", "default_page", "write_report"]
