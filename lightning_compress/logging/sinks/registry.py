"""Which sink writes to a logger; other packages can register theirs."""

from __future__ import annotations

from collections.abc import Callable

from lightning_compress.logging.logger_types import (
    FolderLogger,
    LightningLogger,
    MetricsFile,
    MLflowClient,
    MLflowLogger,
    SummaryWriter,
    TableLogger,
    experiment_of,
    is_placeholder,
)
from lightning_compress.logging.sinks.known_loggers import FolderSink, MLflowSink, TableSink, TensorBoardSink
from lightning_compress.logging.sinks.sink import ScalarSink, Sink

SinkFactory = Callable[[LightningLogger], Sink | None]


def sink_of(logger: LightningLogger) -> Sink | None:
    """The sink of a logger; None for Lightning's ``DummyLogger``, which must not be given anything.

    Factories given to :func:`register_sink` are asked first, the newest first.

    Raises:
        Exception: whatever the logger raises when it cannot start its run.
    """
    if is_placeholder(logger):
        return None
    made = (factory(logger) for factory in _factories)
    return next((sink for sink in made if sink is not None), None)


def register_sink(factory: SinkFactory) -> SinkFactory:
    """Support the loggers of another package; also a decorator.

    Args:
        factory: the sink of a logger, or None for a logger that it does not know.
    """
    _factories.insert(0, factory)
    return factory


def _table_sink(logger: LightningLogger) -> Sink | None:
    return TableSink(logger) if isinstance(logger, TableLogger) else None


def _experiment_sink(logger: LightningLogger) -> Sink | None:
    experiment = experiment_of(logger)
    if isinstance(experiment, SummaryWriter):
        return TensorBoardSink(logger, experiment)
    if isinstance(experiment, MLflowClient) and isinstance(logger, MLflowLogger):
        return MLflowSink(logger, experiment)
    if isinstance(experiment, MetricsFile) and isinstance(logger, FolderLogger):
        return FolderSink(logger)
    return None


_factories: list[SinkFactory] = [_table_sink, _experiment_sink, ScalarSink]
