"""The ``lightning-compress`` command."""

from __future__ import annotations

import io
import sys
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.archive import Archive
from lightning_compress.cli.output import (
    ERRORS,
    Checkpoint,
    File,
    Json,
    Key,
    Output,
    Rows,
    escaped,
    output_path,
    print_archive,
    print_result,
    printed_log,
    progress,
    save,
)
from lightning_compress.cli.report import report
from lightning_compress.cli.search import retarget, tune
from lightning_compress.compression.pipeline import compress as compress_weights
from lightning_compress.compression.pipeline import read_weights
from lightning_compress.errors import CompressionError
from lightning_compress.loading import expand as expand_file
from lightning_compress.plan import DEFAULT_PLAN, PRESETS, Plan

_LINE_BREAK = "\n"  # error messages may have several lines

app = typer.Typer(
    help="Small, verified, pickle-free files from PyTorch Lightning checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class By(str, Enum):
    """What one row of ``inspect`` stands for."""

    tensor = "tensor"
    class_ = "class"
    module = "module"


def main() -> None:
    """Run the command line; errors of this package and of the file system are printed and give exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may have characters that the terminal has not
    try:
        with printed_log():
            app(prog_name="lightning-compress")
    except (CompressionError, OSError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        ERRORS.print(f"[bold red]error:[/] {escaped(message, kept=_LINE_BREAK)}", highlight=False, soft_wrap=True)
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
    """Options before the command."""


@app.command()
def compress(
    source: Checkpoint,
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The file to write; by default NAME.compressed.safetensors beside the checkpoint.", show_default=False
        ),
    ] = None,
    plan: Annotated[
        str, typer.Option(help=f"A preset ({', '.join(PRESETS)}) or the path of a YAML plan.")
    ] = DEFAULT_PLAN,
    output: Output = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of tensors to leave out; repeatable.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Compress a checkpoint, read the file back, and print its sizes."""
    resolved = Plan.resolve(plan)
    if out is not None and output is not None:
        raise CompressionError(f"two files to write are given, {out} and {output}: give one of them")
    path = output_path(source, output or out)
    weights = read_weights(source, exclude=exclude or (), key=key)
    with progress("compressing", sum(weight.tensor.numel() for weight in weights), as_json) as advance:
        archive = compress_weights(weights, resolved, on_tensor=lambda weight: advance(weight.tensor.numel()))
    save(archive, path, as_json)
    print_archive(path, archive, as_json, rows=archive.report().by_class())


@app.command()
def expand(
    file: File,
    out: Annotated[
        Path,
        typer.Argument(help="A Lightning checkpoint (.ckpt) or plain safetensors file to write.", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Write the restored weights as a Lightning checkpoint or as plain safetensors, by the suffix of OUT."""
    total = sum(entry.elements for entry in Archive.open(file).manifest.entries)
    with progress("expanding", total, as_json) as advance:
        expand_file(file, out, on_tensor=lambda entry: advance(entry.elements))
    print_result({"file": str(out), "bytes": out.stat().st_size}, as_json, f"{out}: {out.stat().st_size:,} bytes")


@app.command()
def inspect(
    file: File,
    by: Annotated[By, typer.Option(help="What one row stands for.")] = By.tensor,
    depth: Annotated[
        int | None, typer.Option(min=1, help="With --by module: the number of parts of a path, at most.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tensors of a file with shape, class, payload, coders, bytes, bits per weight and sparsity."""
    archive = Archive.open(file)
    sizes = archive.report()
    rows: Rows = sizes.rows
    if by is not By.tensor:
        rows = sizes.by_class() if by is By.class_ else sizes.by_module(depth)
    print_archive(file, archive, as_json, rows)


@app.command()
def verify(file: File, as_json: Json = False) -> None:
    """Decode a whole file and verify its structure and every checksum; the exit status is 1 if the file is damaged."""
    archive = Archive.open(file)
    with progress("verifying", sum(entry.elements for entry in archive.manifest.entries), as_json) as advance:
        archive.verify(on_tensor=lambda entry: advance(entry.elements))
    tensors = len(archive.manifest.names)
    print_result(
        {"file": str(file), "sound": True, "tensors": tensors, "bytes": archive.nbytes},
        as_json,
        f"{file} is sound: {tensors} tensors, {archive.nbytes:,} bytes",
    )


app.command()(tune)
app.command()(retarget)
app.command()(report)
