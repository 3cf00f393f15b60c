"""The arguments and options that several commands share, and the files that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_compress.errors import CompressionError
from lightning_compress.files.companion_names import SUFFIX

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A checkpoint of Lightning or of another training, a saved state dict, a safetensors file, a folder or "
        "index (*.index.json) of shards, or a folder of torch.distributed.checkpoint.",
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


def one_output(argument: Path | None, option: Path | None) -> Path | None:
    """The file to write, which may be given as an argument or as an option.

    Raises:
        CompressionError: both are given.
    """
    if argument is not None and option is not None:
        raise CompressionError(f"two files to write are given, {argument} and {option}: give one of them")
    return argument or option
