"""What the trials of a search say together: the true drop of each, and the surrogate for the next candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_compress.runtime.cached import cached_property
from lightning_compress.search.families.family import Family
from lightning_compress.search.optimize.surrogate import Surrogate
from lightning_compress.search.optimize.trial_data import TrialData
from lightning_compress.search.trials.coordinates import coordinates_of
from lightning_compress.search.trials.trial import Trial

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


@dataclass(frozen=True)
class _Group:
    """Trials that share one surrogate, by their indices, and a family of theirs."""

    family: Family
    indices: list[int]


class Posterior:
    """What the trials of a search say together. Each surrogate is conditioned once, when it is first asked for.

    Args:
        trials: all of a search.
        max_drop: the largest allowed drop.
        assured: the probability that it is kept with.
        coordinates: ``[trials, parts]``, where all trials share one surrogate; None to compute them.
    """

    def __init__(
        self, trials: Sequence[Trial], max_drop: float, assured: float, *, coordinates: Tensor | None = None
    ) -> None:
        self.trials = tuple(trials)
        self._max_drop, self._assured, self._coordinates = max_drop, assured, coordinates
        self._groups: list[_Group] = []
        self._surrogates: dict[int, Surrogate] = {}
        for index, trial in enumerate(self.trials):
            if trial.family is None:
                continue
            known = next((group for group in self._groups if group.family.shares_trials_with(trial.family)), None)
            if known is None:
                self._groups.append(_Group(trial.family, [index]))
            else:
                known.indices.append(index)

    def surrogate_of(self, family: Family) -> Surrogate | None:
        """The surrogate that the trials of a family inform; None where no trial does."""
        found = (k for k, group in enumerate(self._groups) if family.shares_trials_with(group.family))
        number = next(found, None)
        return None if number is None else self._surrogate(number)

    @cached_property
    def true_drops(self) -> Mapping[int, TrueDrop]:
        """Index of a trial of a family → its true drop."""
        found: dict[int, TrueDrop] = {}
        for number, group in enumerate(self._groups):
            true = self._surrogate(number).true_drops
            rows = zip(true.mean.tolist(), true.deviation.tolist(), true.probability.tolist(), strict=True)
            found |= {index: TrueDrop.of(*row) for index, row in zip(group.indices, rows, strict=True)}
        return found

    def _surrogate(self, number: int) -> Surrogate:
        if number not in self._surrogates:
            group = self._groups[number]
            members = [self.trials[index] for index in group.indices]
            shares = torch.tensor(list(group.family.shares.values()) or [1.0], dtype=torch.float64)
            at = coordinates_of(members, group.family) if self._coordinates is None else self._coordinates
            self._surrogates[number] = Surrogate(TrialData.of(members, at, shares, self._max_drop, self._assured))
        return self._surrogates[number]
