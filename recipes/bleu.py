"""BLEU as a metric that Lightning can log."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.text import SacreBLEUScore


class Bleu(SacreBLEUScore):
    """Corpus BLEU, 0 to 100, with sacrebleu's tokenizers.

    With ``tokenize="none"`` and text whose words are apart by spaces it is the number that Moses'
    ``multi-bleu.pl`` gives.
    """

    def add(self, translations: list[str], references: list[str]) -> None:
        """Count the translations of some sentences, each with its one reference."""
        self.update(translations, [[reference] for reference in references])

    def compute(self) -> Tensor:
        """BLEU of everything counted so far, 0 to 100, ``[]``."""
        fraction: Tensor = super().compute()
        return 100.0 * fraction
