"""The version of Lightning that a checkpoint is written for."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib import metadata


@cache
def lightning_version() -> str:
    """The installed version; the first with today's checkpoints if there is none."""
    for package in ("pytorch-lightning", "lightning"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(package)
    return "2.0.0"
