"""The command line: ``lightning-compress``."""

from lightning_compress.cli.app import main

__all__ = ["main"]
