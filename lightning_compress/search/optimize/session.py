"""One search under way: what was measured, what of it is best, and how many evaluations are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lightning_compress.archive import Archive
from lightning_compress.search.evaluate.bootstrap import Drop, paired_drop
from lightning_compress.search.evaluate.evaluation import Evaluator
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.family import Family


@dataclass(frozen=True, eq=False)
class Trial:
    """One measured archive: where it comes from, its bytes, its score and what that lost."""

    family: Family | None
    strength: float
    nbytes: int
    score: Score
    drop: Drop


class Goal(Protocol):
    """What a search is after."""

    def holds(self, trial: Trial) -> bool:
        """Whether this may be the result."""
        ...

    def prefers(self, trial: Trial, to: Trial) -> bool:
        """Whether, of two that hold, the first is better."""
        ...


@dataclass(frozen=True)
class FewestBytes:
    """The smallest file that loses no more than ``allowed``."""

    allowed: float

    def holds(self, trial: Trial) -> bool:
        """By the drop as measured; its interval is reported, not asked for."""
        return trial.drop.value <= self.allowed

    def prefers(self, trial: Trial, to: Trial) -> bool:
        """The smaller file; of equal ones the better score."""
        return (trial.nbytes, -trial.score.value) < (to.nbytes, -to.score.value)


@dataclass(frozen=True)
class BestScore:
    """The best score in a file of no more than ``budget`` bytes."""

    budget: int

    def holds(self, trial: Trial) -> bool:
        """By the measured bytes."""
        return trial.nbytes <= self.budget

    def prefers(self, trial: Trial, to: Trial) -> bool:
        """The better score; of equal ones the smaller file."""
        return (-trial.score.value, trial.nbytes) < (-to.score.value, to.nbytes)


@dataclass(eq=False)
class Session:
    """Measures archives and keeps the best.

    Attributes:
        evaluator: scores candidates.
        before: the score of the exact weights.
        goal: what is best.
        limit: evaluations in all.
        tell: takes evaluations done and a text, for progress.
        trials: everything measured.
        best: the best that holds, with its archive.
    """

    evaluator: Evaluator
    before: Score
    goal: Goal
    limit: int
    tell: Callable[[int, str], None]
    trials: list[Trial] = field(default_factory=list)
    best: tuple[Trial, Archive] | None = None

    @property
    def left(self) -> int:
        """Evaluations left."""
        return self.limit - self.evaluator.count

    @property
    def best_family(self) -> Family | None:
        """The family of the best so far; None where there is none, or it is of no family."""
        return None if self.best is None else self.best[0].family

    def measure(self, archive: Archive, family: Family | None = None, strength: float = 0.0) -> Trial:
        """Score an archive, and keep it if it is the best so far.

        Raises:
            SearchError: the evaluation fails.
        """
        nbytes = archive.nbytes
        score = self.evaluator.score(archive.restore(), f"a candidate of {nbytes:,} bytes")
        trial = Trial(family, strength, nbytes, score, paired_drop(self.before, score))
        self.trials.append(trial)
        if self.goal.holds(trial) and (self.best is None or self.goal.prefers(trial, self.best[0])):
            self.best = trial, archive
        self.tell(self.evaluator.count, self._told())
        return trial

    def like(self, family: Family) -> list[Trial]:
        """What was measured of a family and of those that are like it."""
        return [trial for trial in self.trials if family.is_like(trial.family)]

    def _told(self) -> str:
        if self.best is None:
            return "nothing holds yet"
        trial = self.best[0]
        return f"{trial.nbytes:,} bytes, score {trial.score.value:.4g} of {self.before.value:.4g}"


def size_of(nbytes: float) -> float:
    """Bytes as the search compares them: by their logarithm."""
    return math.log(nbytes)
