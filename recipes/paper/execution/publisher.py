"""Publishes results: draws figures beside them, and logs tables and charts to Weights & Biases.

A failure here must not lose results: it is logged, and nothing is raised.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_compress.logging import log_figure, log_table
from recipes.paper.figures.export import save
from recipes.paper.figures.single_model import PICTURES
from recipes.paper.results.model_results import Results
from recipes.paper.results.rows import Compared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_BY = {  # results → their pictures
    "table1": ("fig4", "fig4-paper"),
    "fig1": ("fig1",),
    "fig5": ("fig5",),
    "fig6": ("fig6",),
    "fig7": ("fig7",),
    "fig8": ("fig8",),
}
_log = logging.getLogger(__name__)


def publish(out: Path, name: str, logger: str | None) -> None:
    """Draw the pictures of an experiment beside its results, and log both.

    Args:
        out: the folder the experiment wrote to; PNG and SVG files go there too.
        name: of the experiment, which is that of its CSV file.
        logger: project of Weights & Biases that takes the rows and the pictures as a run; ``WANDB_MODE=offline`` keeps
            the run in ``out``. None: no logging.
    """
    with _harmless("the results cannot be shown"):
        model = Results.read(out)
        drawn = _draw(model, SHOWN_BY.get(name, ()), out)
        if logger is not None:
            _log_run(model, name, drawn, logger, out)


def _draw(model: Results, names: Sequence[str], out: Path) -> dict[str, Figure]:
    drawn = {}
    for name in names:
        with _harmless(f"there is no picture {name}"):
            figure = PICTURES[name](model)
            if figure is not None:
                drawn[name] = figure
                save(figure, name, out)
    return drawn


def _log_run(model: Results, name: str, drawn: dict[str, Figure], project: str, out: Path) -> None:
    """One run an experiment; those of one model are a group."""
    with _harmless(f"the project {project!r} of Weights & Biases did not take {name}"):
        from pytorch_lightning.loggers import WandbLogger

        logger = WandbLogger(
            name=f"{model.name} {name}",
            project=project,
            save_dir=out,
            group=model.name,
            job_type=name,
            config=asdict(model.baseline),
        )
        run: Any = logger.experiment  # starts the run; an error here is logged once, not for each table
        try:
            columns, rows = table(model, name)
            log_table([logger], f"paper/{name}", columns, rows, 0)
            for key, figure in drawn.items():
                log_figure([logger], f"paper/{key}-picture", figure, 0)
        finally:
            run.finish()


def table(model: Results, name: str) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of an experiment, as they were measured."""
    measured: dict[str, Sequence[Any]] = {
        "table1": model.pruning,
        "table2": model.combination,
        "fig1": model.histogram,
        "fig5": (*model.tolerances, *([] if model.together is None else [model.together])),
        "fig6": model.restores,
        "fig7": model.coverages,
        "fig8": model.rates,
    }
    rows = measured[name]
    verdict = [field.name for field in fields(Compared)]
    chosen = sorted(fields(rows[0]), key=lambda field: field.name in verdict)  # settings first, then measurements
    columns = [str(field.metadata.get("column", field.name)) for field in chosen]
    return columns, [[getattr(row, field.name) for field in chosen] for row in rows]


@contextmanager
def _harmless(otherwise: str) -> Iterator[None]:
    """Log an error and continue."""
    try:
        yield
    except Exception as error:
        _log.error("%s: %s", otherwise, error or repr(error))
