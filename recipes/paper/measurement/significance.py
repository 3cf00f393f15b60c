"""Significance test that decides whether a compressed model keeps its BLEU."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_compress import Score
from lightning_compress.search import Drop, paired_drop


@dataclass(frozen=True)
class ScoreComparison:
    """How a score compares with that of the exact weights.

    Attributes:
        drop: BLEU of the exact weights minus this BLEU, with its 95 % interval by paired bootstrap.
        tolerance: the drop that is allowed, BLEU.
    """

    drop: Drop
    tolerance: float

    @property
    def significant(self) -> bool:
        """Whether the difference is significant in either direction: the interval excludes 0."""
        return self.drop.low > 0 or self.drop.high < 0

    @property
    def keeps(self) -> bool:
        """Whether BLEU is kept: it drops by the tolerance at most, and not significantly."""
        return self.drop.value <= self.tolerance and not (self.significant and self.drop.value > 0)


def compare(exact: Score, score: Score, *, tolerance: float, seed: int = 0) -> ScoreComparison:
    """Compare a score with that of the exact weights on the same sentences.

    Paired bootstrap resampling as sacrebleu's (Koehn 2004, "Statistical significance tests for machine translation
    evaluation"), 1,000 test sets.

    Args:
        exact: score of the exact weights.
        score: score of the weights restored from a file.
        tolerance: the drop that is allowed, BLEU.
        seed: of the bootstrap resamples.
    """
    return ScoreComparison(paired_drop(exact, score, seed=seed), tolerance)
