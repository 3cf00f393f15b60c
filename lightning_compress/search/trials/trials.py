"""Trials: the evaluated files, the objective that compares them, and the incumbent, which is the best so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from lightning_compress.archive import Archive
from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.evaluate.evaluation import Evaluator
from lightning_compress.search.evaluate.half_samples import HalfSamples
from lightning_compress.search.evaluate.items import check_same_items
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.family import Family
from lightning_compress.search.trials.trial import Trial


def _whole(score: Score) -> Score:
    return score


def _unknown(_: Mapping[str, Tensor]) -> None:
    return None


class Objective(Protocol):
    """What a search optimizes, and under which constraint."""

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The best feasible trial; None where none is feasible."""
        ...


@dataclass(eq=False)
class Trials:
    """Evaluates archives within an evaluation budget, and keeps the best.

    Attributes:
        evaluator: scores candidates.
        before: the score of the exact weights.
        objective: compares trials.
        budget: the evaluation budget, with the evaluations of the exact weights.
        report_progress: takes the number of evaluations and a text.
        divergence: a file's tensors → how far its outputs are from those of the exact weights; None where unknown.
        searched: a score → that of the items which the search may read.
        all: every trial, in order.
        incumbent: the best feasible trial with its archive; None where no trial is feasible.
        interrupted: the name of the exception that ended the search early; empty where none did.
    """

    evaluator: Evaluator
    before: Score
    objective: Objective
    budget: int
    report_progress: Callable[[int, str], None]
    divergence: Callable[[Mapping[str, Tensor]], float | None] = _unknown
    searched: Callable[[Score], Score] = _whole
    all: list[Trial] = field(default_factory=list)
    incumbent: tuple[Trial, Archive] | None = None
    interrupted: str = ""
    _halves: HalfSamples = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._halves = HalfSamples(self.before)

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
            ItemsChangedError: it scores other items than before, or in another order.
        """
        trial = self._trial(archive, family, strength)
        self.all.append(trial)
        self.choose(self.objective.best(self.all))
        self.report_progress(self.evaluator.count, self._status())
        return trial

    def read(self, before: Score, searched: Callable[[Score], Score]) -> None:
        """Read other items of the scores from now on, also of the trials so far, whose archives must be kept.

        Args:
            before: the score of the exact weights on these items.
            searched: a score → that of these items.
        """
        other = replace(self, before=before, searched=searched, all=[])
        read = [other._trial(one.archive, one.family, one.strength) for one in self.all if one.archive is not None]
        self.before, self.searched, self._halves, self.all = before, searched, other._halves, read
        self.choose(self.objective.best(self.all))

    def keep_exact(self, archive: Archive) -> None:
        """The incumbent is an archive of the exact weights, whose score is known."""
        drop = paired_drop(self.before, self.before, resamples=1)
        trial = Trial(None, 0.0, archive.nbytes, self.before, drop, archive=archive)
        self.all.append(trial)
        self.choose(trial)

    def choose(self, trial: Trial | None) -> None:
        """Make a trial the incumbent."""
        self.incumbent = None if trial is None or trial.archive is None else (trial, trial.archive)

    def informing(self, family: Family) -> list[Trial]:
        """The trials that the surrogate of a family is conditioned on."""
        return [trial for trial in self.all if family.shares_trials_with(trial.family)]

    def _trial(self, archive: Archive, family: Family | None, strength: float) -> Trial:
        nbytes, tensors = archive.nbytes, archive.restore()
        score = self.searched(self.evaluator.score(tensors, f"a candidate of {nbytes:,} bytes"))
        check_same_items(self.before, score)
        drop, halves = paired_drop(self.before, score), self._halves.differences(score)
        divergence = None if family is None else self.divergence(tensors)
        usual = self._halves.usual_drop(halves)
        return Trial(family, strength, nbytes, score, drop, halves, usual, divergence, archive)

    def _status(self) -> str:
        if self.incumbent is None:
            return "no feasible file yet"
        trial = self.incumbent[0]
        return f"{trial.nbytes:,} bytes, score {trial.score.value:.4g} of {self.before.value:.4g}"
