"""Sampling noise of drops, from differences between random halves of the items.

Two halves of the items share what a file really loses, but not the luck of their items. So half of the difference
between the drops on the two halves has no signal in it, and over random halves its covariance is that of the drops on
all items (McCarthy 1969, "Pseudo-replication: half samples"; Shao and Wu 1989, "A general theory for jackknife variance
estimation"). It includes the luck of the exact weights, whose score is part of every drop.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lightning_compress.search.evaluate.score import Score, Statistics

HALVES = 200
_SEED = 0
# What a file loses as a rule, over the variance of the change of an item's score: this, over the standard deviation of
# an item's score. Where a share f of the answers to yes-or-no items changes, the variance is f; if a share h of these
# changes is a net loss, the drop is h · f. Found on unseen items: 0.09 to 0.2 for BLEU of two translation models, 0.09
# to 0.16 for the accuracy of a classifier.
_LOSS_OF_CHANGE = 0.13

Floats = NDArray[np.float64]


class HalfSamples:
    """Drops on random halves of the items; what the exact weights score on each is computed once.

    Args:
        before: the score of the exact weights.
    """

    def __init__(self, before: Score) -> None:
        self._before = _scores_of_halves(before)
        self._items = 0 if before.statistics is None else len(before.statistics)

    def differences(self, after: Score) -> Floats | None:
        """Half of the difference between the drops on two halves of the items, for each of many random halves.

        The halves are the same for all scores with equally many items, so products of two files' differences estimate
        the covariance of their drops.

        Args:
            after: the score of a file, on the same items.

        Returns:
            ``[halves]``; None where a score has no statistics, or fewer than two items.
        """
        scores = None if self._before is None else _scores_of_halves(after)
        if self._before is None or scores is None:
            return None
        drops = self._before - scores
        differences: Floats = (drops[0] - drops[1]) / 2
        return differences if bool(np.isfinite(differences).all()) else None

    def usual_drop(self, differences: Floats | None) -> float | None:
        """What a file loses as a rule that changes the scores of items as much as this one, whatever it reads.

        Answers that change do so mostly where they were nearly tied, and rather for the worse: the loss grows with the
        variance of the change, of which there is a good estimate where the loss itself is not yet seen.

        Args:
            differences: of :meth:`differences`.

        Returns:
            None where they are None, or the exact weights score equally on all halves.
        """
        if differences is None or self._before is None:
            return None
        change = float(np.square(differences).mean())
        exact = float(np.square((self._before[0] - self._before[1]) / 2).mean())
        return _LOSS_OF_CHANGE * math.sqrt(self._items) * change / math.sqrt(exact) if exact > 0 else None


def noise_covariance(differences: list[Floats | None]) -> Floats | None:
    """Covariance of the sampling noise of drops, ``[files, files]``.

    Args:
        differences: for each file those of :meth:`HalfSamples.differences`; files without any get no noise.

    Returns:
        None where no file has differences.
    """
    known = [one for one in differences if one is not None]
    if not known:
        return None
    rows = np.stack([np.zeros_like(known[0]) if one is None else one for one in differences])
    covariance: Floats = rows @ rows.T / rows.shape[1]
    return covariance


def items_needed(deviation: float, items: int, max_drop: float) -> int:
    """Items whose sampling noise would be a quarter of ``max_drop``, given its deviation on ``items``.

    The noise falls with the root of the number. To show a drop of at most 0.3 where the truth is 0.1, with 95 %
    certainty in 80 % of cases, takes a standard deviation of 0.2 / (1.64 + 0.84) = 0.08.
    """
    return math.ceil(items * (4 * deviation / max_drop) ** 2)


def _scores_of_halves(score: Score) -> Floats | None:
    """``[2, halves]``: the score of each half, and of the rest."""
    if score.statistics is None or score.combine is None or len(score.statistics) < 2:
        return None
    draws, items = np.random.default_rng(_SEED), len(score.statistics)
    # One half at a time: a table of all halves would be as large as 200 times the items.
    halves = (draws.permutation(items)[: items // 2] for _ in range(HALVES))
    sums: Statistics = np.stack([score.statistics[half].sum(0) for half in halves])
    rest: Statistics = score.statistics.sum(0) - sums
    return np.stack([score.of_parts(half) for half in (sums, rest)])
