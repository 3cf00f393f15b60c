"""The search space: the candidates that may be evaluated next.

A file of a family is given by one strength and an offset for each part of the model. Its coordinates are, for each
part, the logarithm of the bytes that the whole model would have at the part's strength; so equal distances are equal
relative savings, whatever the family. A set of candidates is drawn anew after each trial: along the strength, and in
the neighbourhood of the best trials, where one or two coordinates change (local search among candidates, as in Hutter
et al. 2011, "Sequential model-based optimization for general algorithm configuration", section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import strength_for
from lightning_compress.search.optimize.trial_data import PRIOR_RATE, TrialData
from lightning_compress.search.trials.coordinates import CoordinateMap, offsets_of
from lightning_compress.search.trials.trial import Trial

MAX_STEP = 0.5  # by which candidates may be smaller than every trial, in the logarithm of bytes
_ALONG_STRENGTH = 100  # candidates
_PART_STEPS = (0.1, 0.2, 0.4)  # by which parts are made smaller, in the logarithm of bytes
_CENTRES = 2  # trials with a neighbourhood: the smallest feasible ones, and as many with the least expected bytes

Coordinates = tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """A file that can be made.

    Attributes:
        strength: of all parts without an offset.
        offsets: part → what is added to its strength.
        coordinates: for each part, the logarithm of the bytes that the whole model would have at the part's strength.
        log_bytes: logarithm of the predicted bytes; of the measured bytes where the file is that of a trial.
    """

    strength: float
    offsets: Mapping[str, float]
    coordinates: Coordinates
    log_bytes: float

    def strength_of(self, part: str) -> float:
        """The strength of a part."""
        return self.strength + self.offsets.get(part, 0.0)


class SearchSpace:
    """The files of a family, with any offsets.

    Args:
        family: one of the families that differ in offsets alone.
        trials: those that inform its surrogate; at least one.
        data: the same, as the surrogate takes them.
    """

    def __init__(self, family: Family, trials: Sequence[Trial], data: TrialData) -> None:
        self.family, self.data = family, data
        self._trials = trials
        self._coordinates = CoordinateMap(family)
        self._evaluated = [self._candidate(t.strength, offsets_of(t), math.log(t.nbytes)) for t in trials]
        # Error of the prediction for each trial: log of measured over predicted bytes. The last one corrects new files.
        self._errors = [known.log_bytes - self._predicted(known.strength, known.offsets) for known in self._evaluated]

    @property
    def max_log_bytes(self) -> float:
        """Logarithm of the predicted bytes of the largest file."""
        return self._predicted(self.family.weakest, self.family.offsets) + self._errors[-1]

    def candidates(self, max_log_bytes: float) -> list[Candidate]:
        """The candidates with fewer bytes than this (a logarithm), without files that were evaluated."""
        found = {near.coordinates: near for index in self._centres() for near in self._neighbours(index)}
        found |= {candidate.coordinates: candidate for candidate in self._along_strength(max_log_bytes)}
        for known in self._evaluated:
            found.pop(known.coordinates, None)
        return [candidate for candidate in found.values() if candidate.log_bytes < max_log_bytes]

    def _predicted(self, strength: float, offsets: Mapping[str, float]) -> float:
        return math.log(self.family.with_offsets(offsets).predict_bytes(strength))

    def _along_strength(self, max_log_bytes: float) -> Iterator[Candidate]:
        """Evenly spaced strengths, with the offsets of the family."""
        family, error = self.family, self._errors[-1]
        smallest = min(known.log_bytes for known in self._evaluated) - MAX_STEP
        first, last = (strength_for(family, math.exp(bound - error)) for bound in (max_log_bytes, smallest))
        for strength in torch.linspace(first, last, _ALONG_STRENGTH, dtype=torch.float64).tolist():
            yield self._candidate(strength, family.offsets, self._predicted(strength, family.offsets) + error)

    def _centres(self) -> set[int]:
        """Indices of the trials whose neighbourhoods are searched."""
        log_bytes = [known.log_bytes for known in self._evaluated]
        drops = [trial.drop.value for trial in self._trials]
        feasible = (index for index, drop in enumerate(drops) if drop <= self.data.max_drop)
        smallest = sorted(feasible, key=lambda index: log_bytes[index])
        # Ordered by the drop that each would have at one common size, by the prior rate.
        unit = self.data.unit
        promising = sorted(range(len(drops)), key=lambda index: drops[index] / unit + PRIOR_RATE * log_bytes[index])
        return {*smallest[:_CENTRES], *promising[:_CENTRES]}

    def _neighbours(self, index: int) -> Iterator[Candidate]:
        """One or two parts of a trial made smaller, or one part exchanged for that of another trial."""
        centre = self._evaluated[index]
        strengths = {part: centre.strength_of(part) for part in self.family.shares}
        for step in _PART_STEPS:
            smaller = {part: self._smaller_by(step, strength) for part, strength in strengths.items()}
            for one, other in [(part, part) for part in strengths] + list(combinations(strengths, 2)):
                yield self._changed(index, {one: smaller[one], other: smaller[other]})
        for known in self._evaluated:
            for part in strengths:
                yield self._changed(index, {part: known.strength_of(part)})

    def _changed(self, index: int, strengths: Mapping[str, float]) -> Candidate:
        """A trial with other strengths of some parts."""
        centre = self._evaluated[index]
        changes = {part: strength - centre.strength for part, strength in strengths.items()}
        offsets = {**centre.offsets, **changes}
        log_bytes = self._predicted(centre.strength, offsets) + self._errors[index]
        return self._candidate(centre.strength, offsets, log_bytes)

    def _candidate(self, strength: float, offsets: Mapping[str, float], log_bytes: float) -> Candidate:
        return Candidate(strength, offsets, self._coordinates.of(strength, offsets), log_bytes)

    def _smaller_by(self, step: float, strength: float) -> float:
        """The strength at which the logarithm of the bytes of the whole model is smaller by a step."""
        smaller = math.exp(self._coordinates.at(strength) - step)
        return strength_for(self._coordinates.without_offsets, smaller)
