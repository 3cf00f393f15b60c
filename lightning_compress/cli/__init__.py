"""The command line interface ``lightning-compress``."""

from __future__ import annotations

import sys
from importlib import metadata

__all__ = ["main"]


def main() -> None:
    """Run the command line; ``--version`` alone imports nothing for it."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"{metadata.version('lightning-compress')}\n")
        return
    from lightning_compress.cli.app import main as run

    run()
