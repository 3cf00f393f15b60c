"""Output of the commands: tables, JSON, progress bars."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import markup
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightning_compress.archive import Archive, ClassReport, ModuleReport, Report, TensorReport
from lightning_compress.compression import why_exact
from lightning_compress.files.companion_names import SUFFIX
from lightning_compress.weights import dump

Rows = Sequence[TensorReport] | Sequence[ClassReport] | Sequence[ModuleReport]

ERRORS = Console(stderr=True)
_UNLIMITED_WIDTH = 10_000  # columns, for a table that is not printed to a terminal

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A checkpoint of Lightning or of another training, a saved state dict, a safetensors file, or a folder or "
        "index (*.index.json) of shards.",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        help="Where the state dict is in the checkpoint, such as ema or ema.shadow; by default it is found.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The file to write; by default NAME.compressed.safetensors beside the checkpoint.",
        show_default=False,
    ),
]
File = Annotated[Path, typer.Argument(help="A compressed file.", show_default=False)]


_SOURCE_SUFFIXES = (".ckpt", ".safetensors.index.json", ".bin.index.json", ".safetensors", ".pt", ".pth", ".bin")


def output_path(checkpoint: Path, output: Path | None) -> Path:
    """Where the compressed file of a checkpoint is written: the path given, else a name beside the checkpoint.

    Raises:
        FileNotFoundError: its folder does not exist.
    """
    source = checkpoint.resolve() if checkpoint.name in ("", "..") else checkpoint
    suffix = next(filter(source.name.endswith, _SOURCE_SUFFIXES), "")
    path = source.with_name(source.name.removesuffix(suffix) + SUFFIX) if output is None else output
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: create it, or write elsewhere")
    return path


class LogLines(logging.Handler):
    """Prints each log record of this package as one line on the error stream."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of the record."""
        ERRORS.print(f"[bold yellow]note:[/] {escaped(record.getMessage())}", highlight=False, soft_wrap=True)


@contextmanager
def printed_log() -> Iterator[None]:
    """Print what the package logs in the block, instead of handing it to Python's root logger."""
    log, handler = logging.getLogger("lightning_compress"), LogLines()
    propagates = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


@contextmanager
def progress(task_name: str, total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on the error stream, shown only if that is a terminal.

    Args:
        task_name: text before the bar.
        total: amount of work; None for a bar that shows only the elapsed time.
        quiet: never show the bar.

    Yields:
        A function that advances the bar by an amount of work.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=ERRORS, transient=True, disable=quiet or not ERRORS.is_terminal) as progress:
        task = progress.add_task(task_name, total=total)
        yield lambda amount: progress.advance(task, amount)


def save(archive: Archive, out: Path, quiet: bool) -> None:
    """Save and verify an archive, with a progress bar; errors as for :meth:`Archive.save`."""
    total = sum(entry.elements for entry in archive.manifest.entries)
    with progress("writing and reading back", total, quiet) as advance:
        archive.save(out, on_tensor=lambda entry: advance(entry.elements))


def print_archive(file: Path, archive: Archive, as_json: bool, rows: Rows) -> None:
    """Print the contents of a file: these rows as a table and a summary, or everything as JSON."""
    report, manifest = archive.report(), archive.manifest
    exact = why_exact(manifest)
    if as_json:
        body = [
            asdict(row)
            | {"bits_per_weight": row.bits_per_weight}
            | ({"exact": exact.get(row.name)} if isinstance(row, TensorReport) else {})
            for row in rows
        ]
        extra = {
            "rows": body,
            "ties": {name: tie.of for name, tie in manifest.ties.items()},
            "excluded": manifest.excluded,
            "assets": {asset.name: asset.nbytes for asset in manifest.assets},
            "class_path": manifest.class_path,
            "hyper_parameters": json.loads(dump(dict(manifest.hyper_parameters))),
            "hyper_parameters_left_out": manifest.hyper_parameters_left_out,
            "hparams_name": manifest.hparams_name,
            "checkpoint": json.loads(dump(dict(manifest.checkpoint))),
            "checkpoint_left_out": manifest.checkpoint_left_out,
            "plan": manifest.plan,
            "metrics": manifest.metrics,
        }
        print_result(_totals(file, report) | extra, True, "")
        return
    console = Console() if sys.stdout.isatty() else Console(width=_UNLIMITED_WIDTH)
    console.print(_table(rows, exact))
    console.print(
        f"{printable(str(file))}: {report.raw_bytes:,} bytes of weights in {report.file_bytes:,} bytes, "
        f"ratio {report.ratio:.2f}x, {report.bits_per_weight:.2f} bits per weight, {report.sparsity:.1%} zeros",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for title, names in (
        ("left out", manifest.excluded),
        ("hyper-parameters left out", manifest.hyper_parameters_left_out),
        ("checkpoint values left out", manifest.checkpoint_left_out),
        ("assets", [asset.name for asset in manifest.assets]),
    ):
        if names:
            console.print(f"{title}: {printable(', '.join(names))}", highlight=False, markup=False, soft_wrap=True)


def _table(rows: Rows, exact: Mapping[str, str]) -> Table:
    """A table with one line per row; the first columns differ between tensors, classes and modules.

    Args:
        rows: the contents of the table.
        exact: name of a tensor that is kept exactly → why.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    groups: dict[type, str] = {ClassReport: "class", ModuleReport: "module"}
    group = groups.get(type(rows[0])) if rows else None
    for title in (group, "tensors") if group else ("tensor", "shape", "class", "stored as"):
        table.add_column(title, overflow="fold", no_wrap=title not in ("tensor", "module"))
    for title in ("weights", "bytes", "bits/weight", "zeros"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        sizes = (f"{row.weights:,}", f"{row.bytes:,}", f"{row.bits_per_weight:.2f}", f"{row.sparsity:.1%}")
        if isinstance(row, ClassReport):
            table.add_row(escaped(row.class_name), str(row.tensors), *sizes)
        elif isinstance(row, ModuleReport):
            table.add_row(escaped(row.module) or "(the model itself)", str(row.tensors), *sizes)
        else:
            name = " = ".join((row.name, *row.aliases))
            shape = f"{'×'.join(map(str, row.shape)) or 'scalar'} {row.dtype}"
            stored = f"{row.payload}: {'+'.join(row.coders)}"
            stored += f" (exact: {exact[row.name]})" if row.name in exact else ""
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


def print_result(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print the result as JSON, or the text."""
    typer.echo(json.dumps(result) if as_json else text)


def printable(text: str, kept: str = "") -> str:
    """The text with a Python escape in place of each character that is not printable, and could steer a terminal.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'

    Args:
        text: a text from a file or a path.
        kept: characters that are left as they are, such as line breaks.
    """
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def escaped(text: str, kept: str = "") -> str:
    """The printable text with rich markup escaped; arguments as for :func:`printable`."""
    return markup.escape(printable(text, kept))
