"""``python -m lightning_compress.cli``."""

from lightning_compress.cli import main

main()
