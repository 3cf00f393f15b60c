"""The file of a size that a search finds without training: what trained files are compared with."""

from __future__ import annotations

from typing import Any

from torch import nn

import lightning_compress as lc
from benchmarks.training.methods import TrainingText


def untrained(yardstick: Any, ratio: float) -> lc.Archive:
    """A file of the bytes of the exact weights over ``ratio``: steps by sensitivity, trellis and error feedback.

    Args:
        yardstick: with the exact model.
        ratio: exact bytes over those of the file, at least.
    """
    exact = sum(4 * tensor.numel() for tensor in yardstick.state_dict().values())

    def evaluate(module: nn.Module) -> float:
        score: float = yardstick.bleu(module.state_dict(), "val")
        return score

    size = int(exact / ratio)
    return lc.smallest(
        yardstick.model, evaluate, max_bytes=size, calibration=TrainingText(yardstick), effort="quick", progress=False
    )
