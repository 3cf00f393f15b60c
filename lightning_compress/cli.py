"""The ``lightning-compress`` command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightning_compress.archive import Archive, ClassReport, Report, TensorReport
from lightning_compress.compression import compress as compress_weights
from lightning_compress.compression import expand as expand_file
from lightning_compress.compression import read_weights
from lightning_compress.errors import CompressionError, WeightsError
from lightning_compress.plan import PRESETS, Plan

app = typer.Typer(
    help="Small, verified, pickle-free files from PyTorch Lightning checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_errors = Console(stderr=True)
_UNFOLDED = 10_000  # columns of a table that is not read on a terminal

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
File = Annotated[Path, typer.Argument(help="A compressed file.", show_default=False)]


def main() -> None:
    """Run the command line; errors of this package and of the file system end it with one sentence and status 1."""
    try:
        app(prog_name="lightning-compress")
    except (CompressionError, OSError) as error:
        told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        _errors.print(f"[bold red]error:[/] {_escaped(told)}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("lightning-compress"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the verb."""


@app.command()
def compress(
    source: Annotated[Path, typer.Argument(help="A Lightning checkpoint or a saved state dict.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The file to write (.safetensors).", show_default=False)],
    plan: Annotated[
        str, typer.Option(help=f"A preset ({', '.join(PRESETS)}) or the path of a YAML plan.")
    ] = "paper-transformer",
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of tensors to leave out; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Compress a checkpoint, read the file back, and print its sizes."""
    resolved = Plan.resolve(plan)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the folder {out.parent} does not exist: create it, or write elsewhere")
    weights = read_weights(source, exclude=exclude or ())
    with _progress("compressing", sum(weight.tensor.numel() for weight in weights), as_json) as advance:
        archive = compress_weights(weights, resolved, on_tensor=lambda weight: advance(weight.tensor.numel()))
    with _progress("writing and reading back", sum(weight.tensor.numel() for weight in weights), as_json) as advance:
        archive.save(out, on_tensor=lambda entry: advance(entry.elements))
    _show(out, archive, as_json, rows=archive.report().by_class())


@app.command()
def expand(
    file: File,
    out: Annotated[
        Path,
        typer.Argument(help="A Lightning checkpoint (.ckpt) or plain safetensors file to write.", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Write the restored weights as a Lightning checkpoint or as plain safetensors, by the ending of OUT."""
    if out.suffix not in (".ckpt", ".safetensors"):
        raise WeightsError(f"{out} ends in {out.suffix!r}; write .ckpt for a Lightning checkpoint, or .safetensors")
    total = sum(entry.elements for entry in Archive.open(file).manifest.entries)
    with _progress("expanding", total, as_json) as advance:
        expand_file(file, out, on_tensor=lambda entry: advance(entry.elements))
    _say({"file": str(out), "bytes": out.stat().st_size}, as_json, f"{out}: {out.stat().st_size:,} bytes")


@app.command()
def inspect(
    file: File,
    classes: Annotated[bool, typer.Option("--classes", help="One row per class instead of per tensor.")] = False,
    as_json: Json = False,
) -> None:
    """List what a file holds: for each tensor shape, class, payload, coders, bytes, bits per weight, sparsity."""
    archive = Archive.open(file)
    report = archive.report()
    _show(file, archive, as_json, rows=report.by_class() if classes else report.rows)


@app.command()
def verify(file: File, as_json: Json = False) -> None:
    """Check structure and every checksum of a file by decoding all of it; status 1 where something does not hold."""
    archive = Archive.open(file)
    with _progress("verifying", sum(entry.elements for entry in archive.manifest.entries), as_json) as advance:
        archive.verify(on_tensor=lambda entry: advance(entry.elements))
    tensors = len(archive.manifest.names)
    _say(
        {"file": str(file), "sound": True, "tensors": tensors, "bytes": archive.nbytes},
        as_json,
        f"{file} is sound: {tensors} tensors, {archive.nbytes:,} bytes",
    )


@contextmanager
def _progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on the error stream, where that is a terminal; gives the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_errors, transient=True, disable=quiet or not _errors.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)


def _show(file: Path, archive: Archive, as_json: bool, rows: Sequence[TensorReport] | Sequence[ClassReport]) -> None:
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
        _say(_totals(file, report) | extra, True, "")
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
            table.add_row(_escaped(row.class_name), str(row.tensors), *sizes)
        else:
            name = " = ".join((row.name, *row.aliases))
            shape = f"{'×'.join(map(str, row.shape)) or 'scalar'} {row.dtype}"
            stored = f"{row.payload}: {'+'.join(row.coders)}"
            table.add_row(*map(_escaped, (name, shape, row.class_name, stored)), *sizes)
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


def _say(body: dict[str, Any], as_json: bool, sentence: str) -> None:
    typer.echo(json.dumps(body) if as_json else sentence)


def _escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
