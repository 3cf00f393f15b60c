"""What the command line prints: tables, JSON, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightning_compress.archive import Archive, ClassReport, Report, TensorReport

ERRORS = Console(stderr=True)
_UNFOLDED = 10_000  # columns of a table that is not read on a terminal

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
File = Annotated[Path, typer.Argument(help="A compressed file.", show_default=False)]


@contextmanager
def progress(what: str, total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on the error stream, where that is a terminal; gives the function that moves it.

    Without a total it shows that work goes on, and for how long.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=ERRORS, transient=True, disable=quiet or not ERRORS.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)


def save(archive: Archive, out: Path, quiet: bool) -> None:
    """Write an archive and read it back, with a progress bar; errors as for :meth:`Archive.save`."""
    total = sum(entry.elements for entry in archive.manifest.entries)
    with progress("writing and reading back", total, quiet) as advance:
        archive.save(out, on_tensor=lambda entry: advance(entry.elements))


def show(file: Path, archive: Archive, as_json: bool, rows: Sequence[TensorReport] | Sequence[ClassReport]) -> None:
    """Print what a file holds: a table of these rows and a sentence, or all of it as JSON."""
    report, manifest = archive.report(), archive.manifest
    if as_json:
        body = [asdict(row) | {"bits_per_weight": row.bits_per_weight} for row in rows]
        extra = {
            "rows": body,
            "ties": {name: tie.of for name, tie in manifest.ties.items()},
            "excluded": manifest.excluded,
            "assets": {asset.name: asset.nbytes for asset in manifest.assets},
            "class_path": manifest.class_path,
            "hyper_parameters": manifest.hyper_parameters,
            "plan": manifest.plan,
            "metrics": manifest.metrics,
        }
        say(_totals(file, report) | extra, True, "")
        return
    console = Console() if sys.stdout.isatty() else Console(width=_UNFOLDED)
    console.print(_table(rows))
    console.print(
        f"{file}: {report.raw_bytes:,} bytes of weights in {report.file_bytes:,} bytes, ratio {report.ratio:.2f}x, "
        f"{report.bits_per_weight:.2f} bits per weight, {report.sparsity:.1%} zeros",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for what, names in (("left out", manifest.excluded), ("assets", [asset.name for asset in manifest.assets])):
        if names:
            console.print(f"{what}: {', '.join(names)}", highlight=False, markup=False, soft_wrap=True)


def _table(rows: Sequence[TensorReport] | Sequence[ClassReport]) -> Table:
    """One line per row; tensors and classes differ in their first columns."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    first = (
        ("class", "tensors") if rows and isinstance(rows[0], ClassReport) else ("tensor", "shape", "class", "stored as")
    )
    for title in first:
        table.add_column(title, overflow="fold", no_wrap=title != "tensor")
    for title in ("weights", "bytes", "bits/weight", "zeros"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        sizes = (f"{row.weights:,}", f"{row.bytes:,}", f"{row.bits_per_weight:.2f}", f"{row.sparsity:.1%}")
        if isinstance(row, ClassReport):
            table.add_row(escaped(row.class_name), str(row.tensors), *sizes)
        else:
            name = " = ".join((row.name, *row.aliases))
            shape = f"{'×'.join(map(str, row.shape)) or 'scalar'} {row.dtype}"
            stored = f"{row.payload}: {'+'.join(row.coders)}"
            table.add_row(*map(escaped, (name, shape, row.class_name, stored)), *sizes)
    return table


def _totals(file: Path, report: Report) -> dict[str, Any]:
    return {
        "file": str(file),
        "bytes": report.file_bytes,
        "raw_bytes": report.raw_bytes,
        "ratio": report.ratio,
        "bits_per_weight": report.bits_per_weight,
        "weights": report.weights,
        "sparsity": report.sparsity,
    }


def say(body: dict[str, Any], as_json: bool, sentence: str) -> None:
    """Print the body as JSON, or the sentence."""
    typer.echo(json.dumps(body) if as_json else sentence)


def escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", r"\[")
