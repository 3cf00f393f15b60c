"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.cli.options import Json
from lightning_compress.cli.output import ERRORS, escaped, print_result, progress
from lightning_compress.report import default_page, write_report
from lightning_compress.report.contents import count_elements


def report(
    source: Annotated[
        Path,
        typer.Argument(help="The folder of a run, or a file.", show_default=False, metavar="RUN_OR_FILE"),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write; by default report.html in the folder, or NAME.report.html beside the file.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained page about a run or a file: sizes, charts, plan, and measurements."""
    with progress("decoding and comparing", count_elements(source), as_json) as advance:
        page = default_page(source) if output is None else output
        contents = write_report(source, page, on_tensor=lambda entry: advance(entry.elements))
    for each in contents.left_out:
        ERRORS.print(f"[bold yellow]left out:[/] {escaped(each.reason)}", highlight=False, soft_wrap=True)
    print_result(
        {
            "file": str(page),
            "bytes": page.stat().st_size,
            "files": [str(path) for each in contents.files for path in (each.path, *each.copies)],
            "left_out": {str(each.path): each.reason for each in contents.left_out},
        },
        as_json,
        f"{page}: {page.stat().st_size:,} bytes",
    )
