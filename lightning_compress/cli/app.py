"""The ``lightning-compress`` command."""

from __future__ import annotations

import io
import sys
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_compress.archive import Archive
from lightning_compress.cli.card import card
from lightning_compress.cli.diff import diff
from lightning_compress.cli.options import Checkpoint, File, Json, Key, Output, one_output, output_path
from lightning_compress.cli.output import (
    Rows,
    message_of,
    print_archive,
    print_error,
    print_result,
    printable,
    printed_log,
    progress,
    save,
)
from lightning_compress.cli.plans import plans
from lightning_compress.cli.report import report
from lightning_compress.cli.search import retarget, tune
from lightning_compress.compression import read_weights
from lightning_compress.compression.pipeline import compress as compress_weights
from lightning_compress.errors import CompressionError
from lightning_compress.loading import expand as expand_file
from lightning_compress.plan import DEFAULT_PLAN, PRESETS, Plan

# The base of typer's errors: click may be a part of typer, or a package of its own.
CLICK_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    help="Small, verified, pickle-free files from PyTorch Lightning checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class By(str, Enum):
    """What one row of ``inspect`` stands for."""

    tensor = "tensor"
    class_ = "class"
    module = "module"


class Precision(str, Enum):
    """The types that ``expand`` converts floating-point tensors to."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def main() -> None:
    """Run the command line; errors of this package and of the file system are printed and give exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may have characters that the terminal has not
    as_json = "--json" in sys.argv
    try:
        with printed_log():
            status = app(prog_name="lightning-compress", standalone_mode=not as_json)
    except CLICK_ERROR as error:  # of the command line itself; printed by typer without --json
        print_error(error.format_message(), type(error).__name__, as_json)
        sys.exit(error.exit_code)
    except (CompressionError, OSError) as error:
        print_error(message_of(error), type(error).__name__, as_json)
        sys.exit(1)
    sys.exit(status)


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
        str,
        typer.Option(
            help=f"A preset ({', '.join(PRESETS)}) or the path of a YAML plan.",
            autocompletion=lambda: list(PRESETS),
        ),
    ] = DEFAULT_PLAN,
    output: Output = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of tensors to leave out; repeatable.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Compress a checkpoint, read the file back, and print its sizes."""
    resolved = Plan.resolve(plan)
    path = output_path(source, one_output(out, output))
    weights = read_weights(source, exclude=exclude or (), key=key)
    with progress("compressing", sum(weight.tensor.numel() for weight in weights), as_json) as advance:
        archive = compress_weights(weights, resolved, on_tensor=lambda weight: advance(weight.tensor.numel()))
    save(archive, path, as_json)
    print_archive(path, archive, as_json, rows=archive.report().by_class())


@app.command()
def expand(
    file: File,
    out: Annotated[
        Path | None,
        typer.Argument(help="A Lightning checkpoint (.ckpt) or plain safetensors file to write.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write, in place of OUT.", show_default=False)
    ] = None,
    dtype: Annotated[
        Precision | None,
        typer.Option(help="The type of floating-point tensors in a safetensors file; by default their own."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the restored weights as a Lightning checkpoint or as plain safetensors, by the suffix of OUT."""
    target = one_output(out, output)
    if target is None:
        raise CompressionError("no file to write is given: give its path, such as -o m.ckpt or -o m.safetensors")
    total = sum(entry.elements for entry in Archive.open(file).manifest.entries)
    with progress("expanding", total, as_json) as advance:
        expand_file(
            file,
            target,
            dtype=None if dtype is None else dtype.value,
            on_tensor=lambda entry: advance(entry.elements),
        )
    nbytes = target.stat().st_size
    print_result({"file": str(target), "bytes": nbytes}, as_json, f"{target}: {nbytes:,} bytes")


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
def verify(
    files: Annotated[list[Path], typer.Argument(help="Compressed files.", show_default=False, metavar="FILE...")],
    as_json: Json = False,
) -> None:
    """Decode whole files and verify their structure and every checksum; the exit status is 1 if a file is damaged."""
    results = []
    for file in files:
        try:
            archive = Archive.open(file)
            _verify(archive, as_json)
        except (CompressionError, OSError) as error:
            if len(files) == 1:
                raise
            results.append({"file": str(file), "sound": False, "error": message_of(error)})
            continue
        tensors = len(archive.manifest.names)
        results.append({"file": str(file), "sound": True, "tensors": tensors, "bytes": archive.nbytes})
    damaged = [result for result in results if not result["sound"]]
    lines = (
        f"{printable(str(each['file']))} is sound: {each['tensors']} tensors, {each['bytes']:,} bytes"
        for each in results
        if each["sound"]
    )
    print_result({"sound": not damaged, "files": results}, as_json, "\n".join(lines))
    for each in damaged if not as_json else ():
        print_error(str(each["error"]), "", False)
    if damaged:
        raise typer.Exit(1)


def _verify(archive: Archive, quiet: bool) -> None:
    with progress("verifying", sum(entry.elements for entry in archive.manifest.entries), quiet) as advance:
        archive.verify(on_tensor=lambda entry: advance(entry.elements))


app.command()(plans)
app.command()(diff)
app.command()(tune)
app.command()(retarget)
app.command()(report)
app.command()(card)
