"""The promise of a search: how sure it is, and the items that confirm it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.evaluation import Evaluate
from lightning_compress.search.evaluate.items import (
    MIN_ITEMS,
    SET_APART_FROM,
    HeldOut,
    item_count,
    overlap_of_items,
)
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.feasibility.confirmation import confirm, sequence
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.feasibility.safer_file import can_confirm, evaluate_safer
from lightning_compress.search.record.manifest_metrics import promise_metrics, rounded
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

_log = logging.getLogger(__name__)
_CAUTIOUS = 0.9  # posterior probability where the items are too few to know their variance


@dataclass(frozen=True)
class Promise:
    """What the caller asks for.

    Attributes:
        assured: posterior probability that the true drop is allowed.
        confirm: scores other items; True sets items apart where there are enough, False does not.
    """

    assured: float
    confirm: Evaluate | bool

    def assured_with(self, before: Score) -> float:
        """The probability to require, given the score of the exact weights; a high one where items are few."""
        items = item_count(before)
        if items is None or items >= MIN_ITEMS or self.assured >= _CAUTIOUS:
            return self.assured
        _log.warning(
            "the score has only %d items, too few to know how it varies on others: a safer file is chosen, with "
            "assured=%s. Evaluate on %d items or more",
            items,
            _CAUTIOUS,
            MIN_ITEMS,
        )
        return _CAUTIOUS


@dataclass(frozen=True, eq=False)
class Parts:
    """The items that the search reads, and those that confirm its file.

    Attributes:
        before: the score of the exact weights on all items of ``evaluate``.
        held_out: the division of these items; None where the search reads all.
        other: scores other items; None where there is no such function.
    """

    before: Score
    held_out: HeldOut | None
    other: Evaluate | None

    @classmethod
    def of(cls, before: Score, confirm: Evaluate | bool) -> Parts:
        """Set items apart where no other ones are given, and there are enough."""
        items = item_count(before)
        if callable(confirm):
            return cls(before, None, confirm)
        if confirm and items is not None and items >= SET_APART_FROM:
            return cls(before, HeldOut.of(items), None)
        return cls(before, None, None)

    @property
    def confirms(self) -> bool:
        """Whether files are tested on items that the search does not read."""
        return self.held_out is not None or self.other is not None

    def if_telling(self, first: Trial, objective: FewestBytes) -> Parts:
        """The same parts, or all items for the search where those that are set apart are too few to tell anything.

        Args:
            first: the first file of the search, on the items that it reads.
            objective: says what is allowed.
        """
        if self.held_out is None:
            return self
        searched = self.held_out.searched
        noise = first.drop.deviation * math.sqrt(searched.sum() / (~searched).sum())
        if can_confirm(noise, objective.max_drop, objective.assured):
            return self
        _log.info(
            "the search reads all %d items: a third of them would read a drop with a standard deviation of %.2g, too "
            "much to confirm %.4g",
            len(searched),
            noise,
            objective.max_drop,
        )
        return Parts(self.before, None, None)

    def searched(self, score: Score) -> Score:
        """The score of the items that the search reads."""
        return score if self.held_out is None else self.held_out.to_search(score)

    def confirm(self, trials: Trials, objective: FewestBytes) -> dict[str, Any] | None:
        """Test the files of a search on items it never read; the one that passed becomes the incumbent.

        Returns:
            For the record of the search: the drop on these items, its upper ``bound``, the number of ``items`` and of
            files ``tested``, and whether one ``passed``. None where nothing was tested.
        """
        if self.held_out is None and self.other is None:
            return None
        candidates = sequence(_feasible(trials, objective))
        trials.choose(candidates[0])
        if self.other is not None and trials.interrupted:
            _log.warning("the search ended early, so the file is not confirmed, and the safest one is chosen")
            return None
        before = self._score(trials, None)
        items = item_count(before)
        if items is None or (self.other is not None and overlap_of_items(self.before, before)):
            _log.warning(
                "the file is not confirmed, and the safest one is chosen: confirm %s",
                "gives no statistics of items, so return a Score"
                if items is None
                else "scores items that evaluate scores too, so give it others",
            )
            return None
        if not trials.interrupted:
            evaluate_safer(trials, objective, candidates[0], items)
            candidates = sequence(_feasible(trials, objective))
        found = confirm(
            candidates, before, lambda trial: self._score(trials, trial), objective.max_drop, objective.assured
        )
        if found.trial is None:
            _log.warning("the safest file loses up to %.4g on %d items that confirm it", found.bound, items)
        trials.choose(found.trial)
        numbers = rounded({"drop": found.drop, "bound": found.bound})
        return {**numbers, "items": items, "tested": found.tested, "passed": found.trial is not None}

    def _score(self, trials: Trials, trial: Trial | None) -> Score:
        """The score on the confirming items, of a file or of the exact weights (None)."""
        evaluator = trials.evaluator
        tensors = evaluator.weights.state_dict() if trial is None or trial.archive is None else trial.archive.restore()
        if self.held_out is not None:
            return self.held_out.to_confirm(self.before if trial is None else evaluator.score(tensors, "a candidate"))
        assert self.other is not None
        score = evaluator.other_score(self.other, tensors, "the file to confirm")
        if trial is None and not score.value > float("-inf"):
            raise SearchError(f"confirm gave {score.value} for the exact weights, expected a finite number")
        return score


def expected_metrics(trials: Trials, objective: FewestBytes) -> dict[str, Any]:
    """What the record of a search says of the incumbent's drop on other text; empty for plain storage."""
    assert trials.incumbent is not None
    trial = trials.incumbent[0]
    true = objective.posterior(trials.all).true_drops.get(trials.all.index(trial))
    if true is None:
        return {}
    _log.info(
        "expected drop on other text %.4g, 95 %% interval %.4g to %.4g, at most %.4g with probability %.2f",
        true.mean,
        true.low,
        true.high,
        objective.max_drop,
        true.assured,
    )
    return promise_metrics(true.mean, (true.low, true.high), true.assured, item_count(trial.score))


def _feasible(trials: Trials, objective: FewestBytes) -> list[Any]:
    """The feasible files with their true drops; the incumbent alone where it is stored plainly."""
    true = objective.posterior(trials.all).true_drops
    feasible = objective.feasible(trials.all)
    return [(trial, true[index]) for index, trial in enumerate(trials.all) if trial in feasible and index in true]
