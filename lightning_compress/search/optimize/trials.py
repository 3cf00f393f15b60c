"""Trials: the evaluated files, the objective that compares them, and the incumbent, which is the best so far."""

from __future__ import annotations

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
    """One evaluated archive.

    Attributes:
        family: whose archive it is, with the offsets of its parts; None for plain storage.
        strength: of the archive in its family.
        nbytes: of the file.
        score: as evaluated.
        drop: of the score below that of the exact weights.
    """

    family: Family | None
    strength: float
    nbytes: int
    score: Score
    drop: Drop


class Objective(Protocol):
    """What a search optimizes, and under which constraint."""

    def is_feasible(self, trial: Trial) -> bool:
        """Whether the trial meets the constraint."""
        ...

    def is_better(self, trial: Trial, than: Trial) -> bool:
        """Whether the first of two feasible trials is better."""
        ...


@dataclass(frozen=True)
class FewestBytes:
    """The smallest file whose drop is at most ``max_drop``."""

    max_drop: float

    def is_feasible(self, trial: Trial) -> bool:
        """By the measured drop; its confidence interval is reported, but not required."""
        return trial.drop.value <= self.max_drop

    def is_better(self, trial: Trial, than: Trial) -> bool:
        """The smaller file; of equally large ones the better score."""
        return (trial.nbytes, -trial.score.value) < (than.nbytes, -than.score.value)


@dataclass(frozen=True)
class BestScore:
    """The best score in a file of at most ``max_bytes``."""

    max_bytes: int

    def is_feasible(self, trial: Trial) -> bool:
        """By the measured bytes."""
        return trial.nbytes <= self.max_bytes

    def is_better(self, trial: Trial, than: Trial) -> bool:
        """The better score; of equal ones the smaller file."""
        return (-trial.score.value, trial.nbytes) < (-than.score.value, than.nbytes)


@dataclass(eq=False)
class Trials:
    """Evaluates archives within an evaluation budget, and keeps the best.

    Attributes:
        evaluator: scores candidates.
        before: the score of the exact weights.
        objective: compares trials.
        budget: the evaluation budget, with the evaluations of the exact weights.
        report_progress: takes the number of evaluations and a text.
        all: every trial, in order.
        incumbent: the best feasible trial with its archive; None where no trial is feasible.
    """

    evaluator: Evaluator
    before: Score
    objective: Objective
    budget: int
    report_progress: Callable[[int, str], None]
    all: list[Trial] = field(default_factory=list)
    incumbent: tuple[Trial, Archive] | None = None

    @property
    def remaining(self) -> int:
        """Evaluations that the budget has left."""
        return self.budget - self.evaluator.count

    @property
    def incumbent_family(self) -> Family | None:
        """The family of the incumbent; None where there is no incumbent, or it is stored plainly."""
        return None if self.incumbent is None else self.incumbent[0].family

    def evaluate(self, archive: Archive, family: Family | None = None, strength: float = 0.0) -> Trial:
        """Score an archive; it becomes the incumbent if it is feasible and better.

        Raises:
            SearchError: the evaluation fails.
        """
        nbytes = archive.nbytes
        score = self.evaluator.score(archive.restore(), f"a candidate of {nbytes:,} bytes")
        trial = Trial(family, strength, nbytes, score, paired_drop(self.before, score))
        self.all.append(trial)
        feasible = self.objective.is_feasible(trial)
        if feasible and (self.incumbent is None or self.objective.is_better(trial, self.incumbent[0])):
            self.incumbent = trial, archive
        self.report_progress(self.evaluator.count, self._status())
        return trial

    def informing(self, family: Family) -> list[Trial]:
        """The trials that the surrogate of a family is conditioned on."""
        return [trial for trial in self.all if family.shares_trials_with(trial.family)]

    def _status(self) -> str:
        if self.incumbent is None:
            return "no feasible file yet"
        trial = self.incumbent[0]
        return f"{trial.nbytes:,} bytes, score {trial.score.value:.4g} of {self.before.value:.4g}"
