"""Sinks: where each logger stores scalars, tables, figures and a run's configuration."""

from lightning_compress.logging.sinks.known_loggers import FolderSink, MLflowSink, TableSink, TensorBoardSink
from lightning_compress.logging.sinks.registry import register_sink, sink_of
from lightning_compress.logging.sinks.sink import ScalarSink, Sink

__all__ = [
    "FolderSink",
    "MLflowSink",
    "ScalarSink",
    "Sink",
    "TableSink",
    "TensorBoardSink",
    "register_sink",
    "sink_of",
]
