"""Confidence interval of a drop in score, by paired bootstrap resampling.

Source: Koehn 2004, "Statistical significance tests for machine translation evaluation", section 3.2.
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
    """The difference between two scores, with its 95 % confidence interval.

    Attributes:
        value: the drop on the original sentences; positive where the second score is lower.
        low, high: bounds of the interval; both equal ``value`` for scores without statistics.
        deviation: standard deviation of the drop over the resamples; 0 for scores without statistics.
    """

    value: float
    low: float
    high: float
    deviation: float


def paired_drop(before: Score, after: Score, *, resamples: int = RESAMPLES, seed: int = 0) -> Drop:
    """The drop from one score to another on the same sentences.

    If both scores have statistics, sentences are drawn with replacement, the same ones for both, and both scores are
    computed for each draw. The global random state is not used, and equal scores give equal intervals.

    Args:
        before: the score of the exact weights.
        after: the score of the candidate.
        resamples: number of test sets to draw.
        seed: of the random draws.

    Raises:
        SearchError: the scores cover different numbers of sentences, or an argument is wrong.
    """
    for name, score in (("before", before), ("after", after)):
        if not isinstance(score, Score):
            raise SearchError(f"{name} is {score!r:.80}, expected a lightning_compress.Score")
    for name, number, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if type(number) is not int or number < least:
            raise SearchError(f"{name} is {number!r}, expected a whole number from {least}")
    value = before.value - after.value
    if before.statistics is None or after.statistics is None or before.combine is None or after.combine is None:
        return Drop(value, value, value, 0.0)
    if before.statistics.shape != after.statistics.shape:
        raise SearchError(
            f"a score has statistics of the shape {list(after.statistics.shape)} and the one before "
            f"{list(before.statistics.shape)}: evaluate on the same sentences each time"
        )
    drops = _resampled(before, after, resamples, seed)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drops, [tail, 1 - tail])
    return Drop(value, float(low), float(high), float(drops.std()))


def drop_quantile(before: Score, after: Score, level: float, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """The upper bound of a one-sided interval of a drop; the drop itself for scores without statistics.

    Args:
        before: the score of the exact weights.
        after: the score of the candidate, on the same items.
        level: of the interval, between 0 and 1.
        resamples: number of test sets to draw.
        seed: of the random draws.

    Raises:
        SearchError: as for :func:`paired_drop`.
    """
    drop = paired_drop(before, after, resamples=1)
    if before.statistics is None or after.statistics is None:
        return drop.value
    return float(np.quantile(_resampled(before, after, resamples, seed), level))


def _resampled(before: Score, after: Score, resamples: int, seed: int) -> Statistics:
    """Drops on test sets that are drawn with replacement."""
    assert before.statistics is not None
    assert after.statistics is not None
    sentences = len(before.statistics)
    draws = np.random.default_rng(seed).multinomial(sentences, np.full(sentences, 1 / sentences), resamples)
    return before.of_parts(draws @ before.statistics) - after.of_parts(draws @ after.statistics)
