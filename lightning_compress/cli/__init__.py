"""The command line interface ``lightning-compress``."""

from __future__ import annotations

import sys
from importlib import metadata

from lightning_compress.errors import MissingLibraryError

__all__ = ["main"]


def main() -> None:
    """Run the command line; ``--version`` alone imports nothing for it."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"{metadata.version('lightning-compress')}\n")
        return
    try:
        from lightning_compress.cli.app import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.stderr.write(f"error: {MissingLibraryError('the command line', error.name, 'cli')}\n")
        sys.exit(1)
    run()
