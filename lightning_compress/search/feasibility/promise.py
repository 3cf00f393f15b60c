"""Which evaluated file is returned: the smallest one whose true drop is allowed, with enough certainty.

The smallest file whose *measured* drop is allowed is the winner of many noisy readings, and its drop is underestimated
(the winner's curse: Capen, Clapp and Campbell 1971, "Competitive bidding in high-risk situations"). A posterior that
shrinks each reading towards what the other files say is not biased by such a choice (Efron 2011, "Tweedie's formula and
selection bias").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.search.arguments import ASSURED
from lightning_compress.search.evaluate.half_samples import items_needed
from lightning_compress.search.evaluate.items import item_count
from lightning_compress.search.families.family import Family
from lightning_compress.search.optimize.surrogate import true_drops
from lightning_compress.search.optimize.trial_data import TrialData
from lightning_compress.search.trials.coordinates import coordinates_of
from lightning_compress.search.trials.trial import Trial

_TOO_NOISY = 0.5  # standard deviation of a drop over the allowed drop
_log = logging.getLogger(__name__)
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class TrueDrop:
    """What a file is expected to lose on other text like the items.

    Attributes:
        mean: expected drop.
        low, high: bounds of the 95 % interval.
        assured: probability that the drop is at most the allowed one.
    """

    mean: float
    low: float
    high: float
    assured: float

    @classmethod
    def of(cls, mean: float, deviation: float, assured: float) -> TrueDrop:
        """From a posterior that is nearly normal."""
        return cls(mean, mean - _NORMAL_95 * deviation, mean + _NORMAL_95 * deviation, assured)


def true_drops_of(
    trials: Sequence[Trial], max_drop: float, assured: float, *, coordinates: Tensor | None = None
) -> Mapping[int, TrueDrop]:
    """Index of a trial of a family → its true drop, from all trials that inform it.

    ``coordinates`` ``[trials, parts]`` are computed where they are not given, for which all share one surrogate.
    """
    found: dict[int, TrueDrop] = {}
    for family, indices in _groups(trials):
        members = [trials[index] for index in indices]
        shares = torch.tensor(list(family.shares.values()) or [1.0], dtype=torch.float64)
        at = coordinates_of(members, family) if coordinates is None else coordinates
        data = TrialData.of(members, at, shares, max_drop, assured)
        posterior = true_drops(data)
        for index, *values in zip(
            indices,
            posterior.mean.tolist(),
            posterior.deviation.tolist(),
            posterior.probability.tolist(),
            strict=True,
        ):
            found[index] = TrueDrop.of(*values)
    return found


def _groups(trials: Sequence[Trial]) -> list[tuple[Family, list[int]]]:
    """Families with the indices of the trials that share one surrogate."""
    groups: list[tuple[Family, list[int]]] = []
    for index, trial in enumerate(trials):
        if trial.family is None:
            continue
        known = next((members for family, members in groups if family.shares_trials_with(trial.family)), None)
        if known is None:
            groups.append((trial.family, [index]))
        else:
            known.append(index)
    return groups


@dataclass(frozen=True)
class FewestBytes:
    """The smallest file whose true drop is at most ``max_drop``.

    The measured drop must be allowed as well, so that no file reads worse than what was asked for.

    Attributes:
        max_drop: the largest allowed drop.
        assured: the posterior probability that a file must have of keeping to it.
    """

    max_drop: float
    assured: float = ASSURED

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The smallest feasible trial, of equally large ones the better score; None where none is feasible."""
        feasible = self.feasible(trials)
        return min(feasible, key=lambda trial: (trial.nbytes, -trial.score.value), default=None)

    def note_first(self, trial: Trial) -> None:
        """Warn where the score is too noisy for what is allowed, and say how many items would do."""
        items, deviation = item_count(trial.score), trial.drop.deviation
        if items is None:
            _log.info(
                "the score has no statistics of items, so it is not known how far a drop holds on other text: return "
                "a Score, such as Score.mean_of(values) or bleu_score(…)"
            )
        elif deviation > _TOO_NOISY * self.max_drop > 0:
            _log.warning(
                "the drop is read with a standard deviation of %.2g on %d items, and %.4g is allowed: the file is "
                "chosen with a margin for this. Evaluate on about %d items for a smaller file that holds",
                deviation,
                items,
                self.max_drop,
                items_needed(deviation, items, self.max_drop),
            )

    def feasible(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that may be returned."""
        true = true_drops_of(trials, self.max_drop, self.assured)
        return [trial for index, trial in enumerate(trials) if self.allows(trial, true.get(index))]

    def allows(self, trial: Trial, true: TrueDrop | None) -> bool:
        """Whether a trial may be returned, given its true drop; None for plain storage."""
        if true is None:  # stored in half precision or exactly
            return trial.drop.value <= self.max_drop
        return trial.drop.value <= self.max_drop and true.assured >= self.assured
