"""The command ``card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.cli.options import File, Json
from lightning_compress.cli.output import print_result, write_text


def card(
    file: File,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write, such as README.md; by default it is printed.", show_default=False
        ),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(help="The repository of the hub that holds the file, such as me/model.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the model card of a file: sizes, loss, plan, and how to load it, with the header that the hub reads."""
    from lightning_compress.hub import model_card  # imported here, because its library takes half a second

    text = str(model_card(file, repository=repository))
    if output is None:
        print_result({"card": text}, as_json, text.rstrip())
        return
    write_text(text, output, as_json)
