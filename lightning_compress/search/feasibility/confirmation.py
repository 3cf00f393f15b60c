"""Confirmation: a test of the chosen file on items that the search never read.

Files are tested from the safest to the smallest, each by a one-sided paired bootstrap of its drop (Koehn 2004,
"Statistical significance tests for machine translation evaluation"). The first that fails ends the sequence, and the
last that passed is returned. Since the order is fixed before the items are read, the probability of returning a file
that breaks the promise stays at the level of a single test (fixed-sequence testing: Maurer, Hothorn and Lehmacher 1995,
"Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses"; for the choice of
a setting by a risk: Angelopoulos et al. 2021, "Learn then test: calibrating predictive algorithms to achieve risk
control").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_compress.search.evaluate.bootstrap import drop_quantile
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.optimize.posterior import TrueDrop
from lightning_compress.search.trials.trial import Trial

MAX_FILES = 3


@dataclass(frozen=True)
class Confirmation:
    """The outcome of a fixed sequence of tests.

    Attributes:
        trial: the smallest file that passed; None where the first one failed.
        drop: of that file on the confirming items; of the one that failed where none passed.
        bound: upper bound of that drop.
        tested: number of files.
    """

    trial: Trial | None
    drop: float
    bound: float
    tested: int


def sequence(feasible: Sequence[tuple[Trial, TrueDrop]]) -> list[Trial]:
    """At most three of the feasible files, the safest first and the smallest last.

    A file that is neither smaller nor safer than another one is left out.
    """
    ordered: list[tuple[Trial, TrueDrop]] = []
    for trial, true in sorted(feasible, key=lambda pair: (pair[0].nbytes, pair[1].mean)):
        if not ordered or true.assured > ordered[-1][1].assured:
            ordered.append((trial, true))
    trials = [trial for trial, _ in reversed(ordered)]
    if len(trials) <= MAX_FILES:
        return trials
    return [trials[0], trials[len(trials) // 2], trials[-1]]


def confirm(
    trials: Sequence[Trial], before: Score, score_of: Callable[[Trial], Score], max_drop: float, level: float
) -> Confirmation:
    """Test files in order, and stop at the first that fails.

    Args:
        trials: in order, at least one.
        before: the score of the exact weights on the confirming items.
        score_of: the score of a file on these.
        max_drop: the largest allowed drop.
        level: probability with which a drop above ``max_drop`` is detected.
    """
    passed = Confirmation(None, 0.0, 0.0, 0)
    for number, trial in enumerate(trials, 1):
        after = score_of(trial)
        drop, bound = before.value - after.value, drop_quantile(before, after, level)
        if not bound <= max_drop:  # NaN, too
            kept = passed if passed.trial is not None else Confirmation(None, drop, bound, number)
            return Confirmation(kept.trial, kept.drop, kept.bound, number)
        passed = Confirmation(trial, drop, bound, number)
    return passed
