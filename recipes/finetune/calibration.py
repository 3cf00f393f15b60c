"""Sentence pairs of the training text for calibration: what a search or a training measures the weights on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from torch import Tensor, nn

from recipes.data.batching import Batch
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import PAD
from recipes.translation import Translation

_BATCHES = 32


class TrainingText:
    """Calibration data, as :func:`lightning_compress.smallest` and ``QuantizeDuringTraining`` take it.

    Args:
        batches: of the training text.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    @classmethod
    def of(cls, data: ParallelText, batches: int = _BATCHES) -> TrainingText:
        """The first batches of a data module that is set up."""
        return cls(list(islice(data.train_dataloader(), batches)))

    def __iter__(self) -> Iterator[Batch]:
        """The batches, from the start at every call."""
        return iter(self.batches)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy per target word, nats, ``[]``."""
        translation, batch = _on_device(module, batch)
        return translation.loss(batch)

    def outputs(self, module: nn.Module, batch: Batch) -> Tensor:
        """``[words, vocabulary]`` scores of each target word."""
        translation, batch = _on_device(module, batch)
        scores: Tensor = translation.network(batch.source, batch.previous)
        return scores[batch.target != PAD]


def _on_device(module: nn.Module, batch: Batch) -> tuple[Translation, Batch]:
    """The module, which is one of ours, and the batch on its device."""
    assert isinstance(module, Translation)
    return module, module.transfer_batch_to_device(batch, module.device, 0)
