"""The wandb runs that a trainer's loggers write to, and their configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_compress.logging.broadcast import for_each_sink
from lightning_compress.logging.failures import log_failure
from lightning_compress.logging.logger_types import LightningLogger, WandbRun
from lightning_compress.logging.sinks import Sink
from lightning_compress.logging.wandb_runs.environment import environment

CONFIG = "compression"


def runs_of(loggers: Iterable[LightningLogger]) -> list[WandbRun]:
    """The run of each logger that writes to wandb; the failure to start one is written to the Python log."""
    return [run for _, run in _sinks_with_run(loggers)]


def describe_runs(loggers: Iterable[LightningLogger], plan: Mapping[str, Any]) -> None:
    """Write the plan and the environment into each run's configuration; otherwise as :func:`configure_runs`.

    Args:
        loggers: Lightning loggers, or none.
        plan: as :meth:`Plan.to_config` gives it, or what is known before a search has found it.
    """
    found = _sinks_with_run(loggers)
    if found:
        _configure(found, {CONFIG: {"plan": dict(plan), "environment": environment()}})


def configure_runs(loggers: Iterable[LightningLogger], values: Mapping[str, Any]) -> None:
    """Write plain data into each run's configuration, and plot our metrics against the logger's step metric."""
    _configure(_sinks_with_run(loggers), values)


def _configure(found: Iterable[tuple[Sink, WandbRun]], values: Mapping[str, Any]) -> None:
    for sink, _ in found:
        with log_failure(f"the wandb run did not accept the configuration {', '.join(values)}"):
            sink.configure(values)


def _sinks_with_run(loggers: Iterable[LightningLogger]) -> list[tuple[Sink, WandbRun]]:
    found: list[tuple[Sink, WandbRun]] = []

    def collect(sink: Sink) -> None:
        run = sink.wandb_run()
        if run is not None:
            found.append((sink, run))

    for_each_sink(loggers, "has no wandb run", collect)
    return found
