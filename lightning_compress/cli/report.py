"""The verb that makes a page: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.cli.output import ERRORS, Json, escaped, progress, say
from lightning_compress.report import write_report
from lightning_compress.report.collect import elements_of


def report(
    source: Annotated[
        Path,
        typer.Argument(help="The folder of a run, or a file.", show_default=False, metavar="RUN_OR_FILE"),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write (.html).", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write one page, which needs no network, about a run or a file: sizes, charts, plan, and what was measured."""
    with progress("decoding and comparing", elements_of(source), as_json) as advance:
        found = write_report(source, output, on_tensor=lambda entry: advance(entry.elements))
    for each in found.left_out:
        ERRORS.print(f"[bold yellow]left out:[/] {escaped(each.why)}", highlight=False, soft_wrap=True)
    say(
        {
            "file": str(output),
            "bytes": output.stat().st_size,
            "files": [str(path) for each in found.files for path in (each.path, *each.copies)],
            "left_out": {str(each.path): each.why for each in found.left_out},
        },
        as_json,
        f"{output}: {output.stat().st_size:,} bytes",
    )
