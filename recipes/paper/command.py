"""The command line of the experiments: ``python -m recipes.paper NAME --checkpoint X --data Y --out DIR``.

``python -m recipes.paper tables OUT`` and ``pictures OUT`` show what they measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lightning_compress import CompressionError
from lightning_compress.plan import did_you_mean
from recipes.errors import ExperimentError
from recipes.paper import results_command
from recipes.paper.execution.runner import run
from recipes.paper.experiments import EXPERIMENTS
from recipes.paper.settings import BITS, SHARES, Settings

Value = TypeVar("Value")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main(arguments: list[str] | None = None) -> None:
    """Run an experiment or show results; an error of ours or of the file system ends it with one line and status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = results_command.app if arguments and arguments[0] in results_command.COMMANDS else app
    try:
        command(arguments, prog_name="python -m recipes.paper", standalone_mode=True)
    except (CompressionError, OSError) as error:
        sys.exit(f"error: {error}")


@app.command(no_args_is_help=True)
def experiment(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(EXPERIMENTS)}.", show_default=False)],
    checkpoint: Annotated[Path, typer.Option(help="A .ckpt that a recipe saved.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Folder of the text.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the results, made if need be.", show_default=False)],
    source: Annotated[str, typer.Option(help="Ending of the source file.")] = "en",
    target: Annotated[str, typer.Option(help="Ending of the file of references.")] = "de",
    split: Annotated[str, typer.Option(help="Name of the text files before their ending.")] = "valid",
    beam: Annotated[
        int | None,
        typer.Option(help="Translations kept in the search, 1 for greedy; by default the model's test_beam."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many sentences.")] = None,
    tolerance: Annotated[float, typer.Option(help="Drop of BLEU that still counts as kept.")] = 0.3,
    shares: Annotated[
        str | None, typer.Option(help="table1: shares that are pruned, as 0,0.1,0.2; by default 0 to 0.95 by 0.05.")
    ] = None,
    bits: Annotated[
        str | None, typer.Option(help="fig6, fig7, fig8: bits of an index, as 4,6; by default 2 to 8.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="fig5: classes pruned alone, as softmax,decoder.0; by default all.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="fig6, table2: share inside the interval; by default the paper's, 0.991 and 0.98."),
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(
            help="fig1, table2: share that is pruned; by default 0.15 (Transformer) or 0.4 (RNN), the paper's."
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(help="table2: class-uniform (default for a Transformer) or class-blind (for an RNN)."),
    ] = None,
    index_bits: Annotated[
        int | None, typer.Option(help="table2: bits of an index; by default 6 (Transformer) or 4 (RNN).")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that share the points, each on a GPU if any.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    wandb: Annotated[
        str | None, typer.Option(help="Project of a wandb run that gets tables and charts.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no list of files.")] = False,
) -> None:
    """Repeat experiments of the reference paper on a trained translation recipe.

    Each point is measured once and kept in OUT/points: an interrupted run goes on where it was, and experiments share
    points. Results are CSV files in OUT. `tables OUT` and `pictures OUT` show them.
    """
    if name not in EXPERIMENTS:
        raise ExperimentError(
            f"no experiment is called {name!r}{did_you_mean(name, EXPERIMENTS)}; there are {', '.join(EXPERIMENTS)}"
        )
    settings = Settings(
        checkpoint,
        data,
        out,
        source=source,
        target=target,
        split=split,
        beam=beam,
        limit=limit,
        tolerance=tolerance,
        shares=SHARES if shares is None else _list("shares", shares, float),
        bits=BITS if bits is None else _list("bits", bits, int),
        classes=() if classes is None else _list("classes", classes, str),
        coverage=coverage,
        prune=prune,
        scheme=scheme,  # type: ignore[arg-type]  # Settings checks it
        index_bits=index_bits,
        seed=seed,
    )
    for path in run(settings, name, devices=devices, logger=wandb, quiet=quiet):
        if not quiet:
            typer.echo(path)


def _list(name: str, text: str, kind: Callable[[Any], Value]) -> tuple[Value, ...]:
    try:
        return tuple(kind(item.strip()) for item in text.split(",") if item.strip())
    except ValueError as error:
        raise ExperimentError(f"--{name} is {text!r}: expected values with commas between them ({error})") from error
