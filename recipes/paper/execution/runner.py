"""Run experiments: measure what is missing, write the CSV files, publish them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recipes.paper.execution.csv_writer import write_baseline, write_rows
from recipes.paper.execution.parallel import measure_in_parallel
from recipes.paper.execution.progress import Bar, progress_bar
from recipes.paper.execution.publisher import publish
from recipes.paper.experiments import EXPERIMENTS, Experiment
from recipes.paper.experiments.experiment import Row
from recipes.paper.measurement.context import ExperimentContext, experiment_context
from recipes.paper.settings import Settings

Done = Callable[[str], None]


def run(
    settings: Settings, name: str, *, devices: int = 1, logger: str | None = None, quiet: bool = False
) -> list[Path]:
    """Run the experiments of a name. Cached points are not measured again.

    Args:
        settings: model, text, folder and choices.
        name: one of :data:`EXPERIMENTS`.
        devices: processes among which points are shared.
        logger: project of a wandb run that gets tables and charts; None for none.
        quiet: whether to show no progress.

    Returns:
        The CSV files written.

    Raises:
        ExperimentError, VocabularyError, TextError: as for :func:`experiment_context`, and for an unknown class.
        OSError: a result cannot be written.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    written = []
    with progress_bar(quiet=quiet) as bar, experiment_context(settings, on_point=bar.describe) as context:
        for experiment in EXPERIMENTS[name]:
            experiment.parts(context)  # wrong settings fail before hours of measurement
        write_baseline(context)
        if devices == 1:
            for experiment in EXPERIMENTS[name]:
                written.append(_write(context, experiment, bar))
                publish(settings.out, experiment.name, logger)
            return written
    measure_in_parallel(settings, [name], devices=devices, quiet=quiet)
    return run(settings, name, logger=logger, quiet=quiet)


def _write(context: ExperimentContext, experiment: Experiment, bar: Bar) -> Path:
    parts = experiment.parts(context)
    bar.start(experiment.name, len(parts))
    rows: list[Row] = []
    for part in parts:
        rows += part(context)
        bar.advance()
    path = context.settings.out / f"{experiment.name}.csv"
    write_rows(path, experiment.columns, experiment.finish(context, rows))
    return path
