"""Output of the commands: tables, JSON, progress bars."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich import markup
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightning_compress.archive import Archive, ClassReport, ModuleReport, Report, TensorReport
from lightning_compress.compression import why_exact
from lightning_compress.errors import ForeignFileError
from lightning_compress.files import replace_file
from lightning_compress.weights import dump

Rows = Sequence[TensorReport] | Sequence[ClassReport] | Sequence[ModuleReport]

ERRORS = Console(stderr=True)
_LINE_BREAK = "\n"  # error messages may have several lines
_UNLIMITED_WIDTH = 10_000  # columns, for a table that is not printed to a terminal


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
    console = _console()
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


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print rows of text.

    Args:
        titles: of the columns.
        rows: their cells.
        left: the number of columns that are aligned to the left; the others hold numbers.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escaped, row))
    _console().print(table)


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_UNLIMITED_WIDTH)


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


def message_of(error: Exception) -> str:
    """The sentence of an error; one of the file system begins with the file."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def print_error(message: str, kind: str, as_json: bool) -> None:
    """Print an error: as one JSON object on the output, or as a sentence on the error stream.

    Args:
        message: what is wrong; it may have several lines.
        kind: name of the class of the error.
        as_json: whether the command has ``--json``.
    """
    if as_json:
        typer.echo(json.dumps({"error": message, "kind": kind}))
    else:
        ERRORS.print(f"[bold red]error:[/] {escaped(message, kept=_LINE_BREAK)}", highlight=False, soft_wrap=True)


def print_result(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print the result as JSON, or the text."""
    typer.echo(json.dumps(result) if as_json else text)


def write_text(text: str, out: Path, as_json: bool) -> None:
    """Write a text to a new file and print its size.

    Raises:
        ForeignFileError: the file exists.
        FileNotFoundError: its folder does not exist.
    """
    if out.exists():
        raise ForeignFileError(f"{out} exists and is not replaced: remove it, or write elsewhere")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the folder {out.parent} does not exist: create it, or write elsewhere")
    content = text.encode()
    replace_file(str(out), [content], check=lambda written: None, is_ours=lambda path: False)
    print_result({"file": str(out), "bytes": len(content)}, as_json, f"{out}: {len(content):,} bytes")


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
