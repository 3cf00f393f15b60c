"""What becomes of an experiment's CSV files."""

from __future__ import annotations

from pathlib import Path


def publish(out: Path, name: str, logger: str | None) -> None:
    """Called after each experiment.

    Args:
        out: folder of the CSV files.
        name: of the experiment.
        logger: project of a wandb run; None for none.
    """
