"""BLEU as a metric that Lightning can log."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor
from torchmetrics.text import SacreBLEUScore

from recipes.data.batching import Batch
from recipes.errors import ScoreError
from recipes.search.lines import Search, translate_batch

_log = logging.getLogger(__name__)


class Bleu(SacreBLEUScore):
    """Corpus BLEU, 0 to 100, with sacrebleu's tokenizers.

    With ``tokenize="none"`` and text whose words are apart by spaces it is the number that Moses'
    ``multi-bleu.pl`` gives. It is NaN once a batch could not be translated.
    """

    failed: Tensor

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.add_state("failed", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def is_failed(self) -> bool:
        """Whether a batch could not be translated here, in this process."""
        return bool(self.failed > 0)

    def add(self, translations: list[str], references: list[str]) -> None:
        """Count the translations of some sentences, each with its one reference."""
        self.update(translations, [[reference] for reference in references])

    def count(self, batch: Batch, number: int, search: Search, *, may_fail: bool = False) -> None:
        """Translate a batch and count its translations.

        Args:
            batch: of a text.
            number: of the batch in the text, from 0.
            search: translates a batch of ids.
            may_fail: whether NaN scores make BLEU NaN instead of raising.

        Raises:
            ScoreError: unless ``may_fail``, if scores are NaN or infinite.
        """
        try:
            self.add(translate_batch(batch, number, search), list(batch.references))
        except ScoreError as error:
            if not may_fail:
                raise
            if not self.is_failed:
                _log.error("%s; val_bleu is NaN, the training goes on", error)
            self.add_failed(list(batch.references))

    def add_failed(self, references: list[str]) -> None:
        """Count sentences that could not be translated."""
        self.add([""] * len(references), references)
        self.failed += 1

    def compute(self) -> Tensor:
        """BLEU of everything counted so far, 0 to 100, ``[]``; NaN if a batch could not be translated."""
        fraction: Tensor = super().compute()
        return torch.where(self.failed > 0, torch.nan, 100.0 * fraction)
