"""``python -m lightning_compress.cli``."""

from lightning_compress.cli.app import main

main()
