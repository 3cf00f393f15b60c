"""The commands ``tables`` and ``pictures``, which show the results of one or more models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recipes.errors import ResultsError
from recipes.paper.figures.export import comparisons, figures, save
from recipes.paper.results.model_results import Results, parse
from recipes.paper.tables.paper_tables import tables as markdown_tables

Models = Annotated[
    list[str],
    typer.Argument(
        help="Folders that experiments wrote, FOLDER or NAME=FOLDER. A name such as 'Transformer' or 'RNN 4' selects "
        "the model of the paper to compare with.",
        show_default=False,
    ),
]

COMMANDS = ("tables", "pictures")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def tables(models: Models) -> None:
    """Print what was measured as Markdown tables, beside the paper's numbers."""
    typer.echo(markdown_tables(_read(models)))


@app.command()
def pictures(
    models: Models,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures, made if need be.")] = None,
) -> None:
    """Draw the figures as PNG and SVG: of one model, by default into its folder, or of several together."""
    read = _read(models)
    if len(read) > 1 and out is None:
        raise ResultsError(f"{len(read)} models are drawn together: give a folder with --out FOLDER")
    folder = out or Path(models[0].partition("=")[2] or models[0])
    drawn = figures(read[0]) if len(read) == 1 else comparisons(read)
    if not drawn:
        raise ResultsError(f"no results to draw in {', '.join(models)}: run an experiment first")
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        typer.echo(", ".join(str(path) for path in save(figure, name, folder)))


def _read(models: list[str]) -> list[Results]:
    read = [parse(model) for model in models]
    names = [model.name for model in read]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ResultsError(f"the name {', '.join(sorted(twice))} is given twice: write NAME=FOLDER for each model")
    return read
