"""The command line interface ``lightning-compress``."""

from lightning_compress.cli.app import main

__all__ = ["main"]
