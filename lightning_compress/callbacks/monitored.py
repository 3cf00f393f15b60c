"""Which metrics a trainer's checkpoints are chosen by."""

from __future__ import annotations

from typing import Any, Literal

Mode = Literal["min", "max"]


def monitored(trainer: Any) -> dict[str, Mode]:
    """Name of the metric of each ``ModelCheckpoint`` that has one → whether more of it is better (``"max"``)."""
    return {c.monitor: c.mode for c in trainer.checkpoint_callbacks if getattr(c, "monitor", None)}
