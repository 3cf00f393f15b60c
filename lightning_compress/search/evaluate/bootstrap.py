"""How sure a drop in score is: paired bootstrap resampling (Koehn 2004, "Statistical significance tests for machine
translation evaluation", section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.score import Score, Statistics

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Drop:
    """How much lower one score is than another.

    Attributes:
        value: the drop on the sentences as they are.
        low, high: borders of the 95 % interval; both ``value`` where nothing tells the noise.
        deviation: standard deviation of the drop over resamples; 0 where nothing tells it.
    """

    value: float
    low: float
    high: float
    deviation: float


def paired_drop(before: Score, after: Score, *, resamples: int = RESAMPLES, seed: int = 0) -> Drop:
    """The drop from one score to another on the same sentences.

    With statistics on both sides, sentences are drawn with replacement, the same for both, and both scores are made
    anew of each draw. The global random state is not touched, and equal scores give equal intervals.

    Args:
        before: the score that is lost from.
        after: the score that is left.
        resamples: how many test sets are drawn.
        seed: of the draws.

    Raises:
        SearchError: the two are of different numbers of sentences.
    """
    value = before.value - after.value
    if before.statistics is None or after.statistics is None or before.combine is None or after.combine is None:
        return Drop(value, value, value, 0.0)
    if before.statistics.shape != after.statistics.shape:
        raise SearchError(
            f"a score has statistics of the shape {list(after.statistics.shape)} and the one before "
            f"{list(before.statistics.shape)}: evaluate on the same sentences each time"
        )
    sentences = len(before.statistics)
    draws = np.random.default_rng(seed).multinomial(sentences, np.full(sentences, 1 / sentences), resamples)
    drops = _scores(before, before.statistics, draws) - _scores(after, after.statistics, draws)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drops, [tail, 1 - tail])
    return Drop(value, float(low), float(high), float(drops.std()))


def _scores(score: Score, statistics: Statistics, draws: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Statistics:
    assert score.combine is not None
    return np.array([score.combine(sums) for sums in draws @ statistics])
