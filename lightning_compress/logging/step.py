"""The step at which Lightning logs, so that a checkpoint's figures stand beside its metrics."""

from __future__ import annotations

from typing import Any


def logging_step(trainer: Any) -> int:
    """The step that Lightning gives to metrics logged now: optimizer steps, counted once for several optimizers.

    Lightning counts a batch after its validation. At the end of an epoch, and when a run is over, the batch that the
    metrics belong to is counted already. The counter is protected; ``global_step`` stands in where there is none.
    """
    loop = trainer.fit_loop.epoch_loop
    counted = getattr(loop, "_batches_that_stepped", None)
    if counted is None:
        return int(trainer.global_step)
    progress = loop.batch_progress.current
    is_past = progress.completed == progress.processed and not trainer.validating
    return max(0, int(counted) - is_past)
