"""Run experiments: measure what is missing, write the CSV files, publish them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recipes.paper.csv_files import write_baseline, write_rows
from recipes.paper.experiments import EXPERIMENTS, Experiment
from recipes.paper.experiments.experiment import Row
from recipes.paper.laboratory import Laboratory, laboratory
from recipes.paper.parallel import measure_in_parallel
from recipes.paper.progress import Bar, progress_bar
from recipes.paper.publish import publish
from recipes.paper.settings import Settings

Done = Callable[[str], None]


def run(
    settings: Settings, name: str, *, devices: int = 1, logger: str | None = None, quiet: bool = False
) -> list[Path]:
    """Run the experiments of a name. What was measured before is not measured again.

    Args:
        settings: model, text, folder and choices.
        name: one of :data:`EXPERIMENTS`.
        devices: processes among which points are shared.
        logger: project of a wandb run that gets tables and charts; None for none.
        quiet: whether to show no progress.

    Returns:
        The CSV files written.

    Raises:
        ExperimentError, VocabularyError, TextError: as for :func:`laboratory`, and for an unknown class.
        OSError: a result cannot be written.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    written = []
    with progress_bar(quiet=quiet) as bar, laboratory(settings, tell=bar.tell) as lab:
        for experiment in EXPERIMENTS[name]:
            experiment.parts(lab)  # a wrong choice shows before hours are spent
        write_baseline(lab)
        if devices == 1:
            for experiment in EXPERIMENTS[name]:
                written.append(_write(lab, experiment, bar))
                publish(settings.out, experiment.name, logger)
            return written
    measure_in_parallel(settings, [name], devices=devices, quiet=quiet)
    return run(settings, name, logger=logger, quiet=quiet)


def _write(lab: Laboratory, experiment: Experiment, bar: Bar) -> Path:
    parts = experiment.parts(lab)
    bar.expect(experiment.name, len(parts))
    rows: list[Row] = []
    for part in parts:
        rows += part(lab)
        bar.advance()
    path = lab.settings.out / f"{experiment.name}.csv"
    write_rows(path, experiment.columns, experiment.finish(lab, rows))
    return path
