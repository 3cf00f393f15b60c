"""The runs of Weights & Biases among a trainer's loggers, and what each is told of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_compress.logging.environment import environment

CONFIG = "compression"
STEP = "trainer/global_step"
SCALARS = ("compression/*", "quality/*")
_log = logging.getLogger(__name__)


def runs_of(loggers: Iterable[Any]) -> list[Any]:
    """The run of each logger that has one of Weights & Biases; one that cannot be started is named in the log."""
    return [run for run in map(_run_of, loggers) if run is not None]


def describe_runs(loggers: Iterable[Any], plan: Mapping[str, Any]) -> None:
    """Write plan and environment into each run's configuration, and have our scalars drawn against the step.

    Args:
        loggers: Lightning loggers, or none.
        plan: as :meth:`Plan.to_config` gives it, or what is said of it before it is found.
    """
    runs = runs_of(loggers)
    if runs:
        told = {CONFIG: {"plan": dict(plan), "environment": environment()}}
        for run in runs:
            _configure(run, told)


def configure_runs(loggers: Iterable[Any], told: Mapping[str, Any]) -> None:
    """Write plain data into each run's configuration, and have our scalars drawn against the step."""
    for run in runs_of(loggers):
        _configure(run, told)


def _configure(run: Any, told: Mapping[str, Any]) -> None:
    try:
        run.config.update(told, allow_val_change=True)
        for names in SCALARS:
            run.define_metric(names, step_metric=STEP)
    except Exception as error:
        _log.error("the wandb run was not told %s, the training goes on: %r", ", ".join(told), error)


def _run_of(logger: Any) -> Any | None:
    if not hasattr(logger, "log_table"):
        return None
    try:
        run = getattr(logger, "experiment", None)
    except Exception as error:
        _log.error("%s has no run to write to, the training goes on: %r", type(logger).__name__, error)
        return None
    return run if hasattr(run, "define_metric") else None
