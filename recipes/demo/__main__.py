"""``python -m recipes.demo``: generate a corpus, train, compress, and compare the files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from lightning_compress import CompressionError
from recipes.demo.run import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and run the demo; without a wandb key, wandb stays offline."""
    parser = argparse.ArgumentParser(prog="python -m recipes demo", description="Train small, compress, compare.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for all files")
    parser.add_argument("--pairs", type=int, default=20_000, help="training pairs (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of corpus and training (default: 1)")
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.seed < 0:
        parser.error(f"--pairs is {options.pairs} and --seed {options.seed}: expected 1 pair or more, and 0 or more")
    if not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    # The model is small: a second thread gains little, and on a busy machine the two wait for each other.
    torch.set_num_threads(1)
    try:
        run(options.output, pairs=options.pairs, seed=options.seed)
    except (CompressionError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
