"""Text in batches, for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from benchmarks.rate_distortion.source import Source

SENTENCES, BATCH = 8000, 64
PAD = 0  # the number of the word that fills sentences up

Batch = tuple[Tensor, Tensor, Tensor]


class Text:
    """The first sentences of a text: source, target shifted right, and target.

    Args:
        source: the model; its yardstick has ``batches(sentences, size, split=…)``.
        split: name of the text; ``train`` is what calibration takes.
        sentences: how many, where there are so many.
    """

    def __init__(self, source: Source, split: str = "train", sentences: int = SENTENCES) -> None:
        self._batches: list[Batch] = list(source.yardstick.batches(sentences, BATCH, split=split))

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def outputs(self, module: nn.Module, batch: Batch) -> Tensor:
        """Scores ``[words of the batch, vocabulary]`` of each next word, given the reference so far."""
        source, previous, target = batch
        scores: Any = module(source, previous)
        answered: Tensor = scores[target != PAD]
        return answered

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy for each word, in nats."""
        target = batch[2]
        return nn.functional.cross_entropy(self.outputs(module, batch), target[target != PAD])
