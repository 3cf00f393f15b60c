"""What can be measured next: files along the strength of a family, and such as differ from a known one in a part.

A place in this space is a strength for each part of the model, told by the size that the whole would have at it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch

from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import strength_at
from lightning_compress.search.optimize.session import Trial, size_of
from lightning_compress.search.optimize.surrogate import USUAL_RATE, Measured

REACH = 0.5  # farthest step beyond everything measured, in the logarithm of bytes
_LINE = 100  # strengths of the whole
_STEPS = (0.1, 0.2, 0.4)  # by which parts are made smaller, in the logarithm of bytes
_STARTS = 2  # known files whose parts are: the smallest that hold, and the most promising
_DIGITS = 6  # of a strength

Place = tuple[float, ...]


@dataclass(frozen=True)
class Option:
    """A file that can be made.

    Attributes:
        strength: of the whole.
        offsets: of its parts.
        place: for each part, the logarithm of the bytes that the whole would have, were it all as strong.
        size: logarithm of the bytes to expect.
    """

    strength: float
    offsets: Mapping[str, float]
    place: Place
    size: float

    def level(self, part: str) -> float:
        """The strength of a part."""
        return self.strength + self.offsets.get(part, 0.0)


class Space:
    """The files of a family, with whatever offsets.

    Args:
        family: one of them.
        known: what was measured of it and of those that are like it; one trial at least.
        allowed: the largest drop that holds.
    """

    def __init__(self, family: Family, known: Sequence[Trial], allowed: float) -> None:
        self.family = family
        self.allowed = allowed
        self._known = known
        self._whole = family.with_offsets({})
        self._levels: dict[float, float] = {}
        self._options = [self._at(t.strength, _offsets_of(t), size_of(t.nbytes)) for t in known]
        # Logarithms of the measured over the predicted bytes of each known file; the last one tells of new ones.
        self._biases = [option.size - self._predicted(option.strength, option.offsets) for option in self._options]

    @property
    def largest(self) -> float:
        """Logarithm of the most bytes to expect."""
        return self._predicted(self.family.weakest, self.family.offsets) + self._biases[-1]

    @cached_property
    def measured(self) -> Measured:
        """What is known, as chances are computed from."""
        places = torch.tensor([option.place for option in self._options], dtype=torch.float64)
        drops = torch.tensor([trial.drop.value for trial in self._known], dtype=torch.float64)
        shares = torch.tensor(list(self.family.shares.values()) or [1.0], dtype=torch.float64)
        return Measured(places, drops, shares, self.allowed, max(trial.drop.deviation for trial in self._known))

    def options(self, to_beat: float) -> list[Option]:
        """Everything worth a thought that may have fewer bytes (a logarithm again), without what was measured."""
        found = {option.place: option for number in self._starts() for option in self._around(number)}
        found |= {option.place: option for option in self._line(to_beat)}
        for option in self._options:
            found.pop(option.place, None)
        return [option for option in found.values() if option.size < to_beat]

    def _predicted(self, strength: float, offsets: Mapping[str, float]) -> float:
        return size_of(self.family.with_offsets(offsets).predict_bytes(strength))

    def _line(self, to_beat: float) -> Iterator[Option]:
        """All parts stronger or weaker together."""
        family, bias = self.family, self._biases[-1]
        smallest = min(option.size for option in self._options) - REACH
        weakest, strongest = (strength_at(family, math.exp(size - bias)) for size in (to_beat, smallest))
        for strength in torch.linspace(weakest, strongest, _LINE, dtype=torch.float64).tolist():
            yield self._at(strength, family.offsets, self._predicted(strength, family.offsets) + bias)

    def _around(self, number: int) -> Iterator[Option]:
        """One or two parts of a known file made smaller, or one as it is in another file."""
        known = self._options[number]
        levels = {part: known.level(part) for part in self.family.shares}
        for step in _STEPS:
            smaller = {part: self._stronger(level, step) for part, level in levels.items()}
            for one, other in [(part, part) for part in levels] + list(combinations(levels, 2)):
                yield self._moved(number, {one: smaller[one], other: smaller[other]})
        for file in self._options:
            for part in levels:
                yield self._moved(number, {part: file.level(part)})

    def _starts(self) -> set[int]:
        """Numbers of the known files that others are made from."""
        sizes = [option.size for option in self._options]
        drops = [trial.drop.value for trial in self._known]
        unit = self.measured.unit
        holding = (number for number, drop in enumerate(drops) if drop <= self.allowed)
        by_size = sorted(holding, key=lambda number: sizes[number])
        # Drops as they would be at one size, by the usual curve.
        promising = sorted(range(len(drops)), key=lambda number: drops[number] / unit + USUAL_RATE * sizes[number])
        return {*by_size[:_STARTS], *promising[:_STARTS]}

    def _moved(self, number: int, levels: Mapping[str, float]) -> Option:
        known = self._options[number]
        offsets = {**known.offsets, **{part: level - known.strength for part, level in levels.items()}}
        return self._at(known.strength, offsets, self._predicted(known.strength, offsets) + self._biases[number])

    def _at(self, strength: float, offsets: Mapping[str, float], size: float) -> Option:
        levels = [strength + offsets.get(part, 0.0) for part in self.family.shares] or [strength]
        return Option(strength, offsets, tuple(map(self._size_at, levels)), size)

    def _stronger(self, level: float, step: float) -> float:
        """The strength at which the whole would be smaller by a step."""
        return strength_at(self._whole, math.exp(self._size_at(level) - step))

    def _size_at(self, level: float) -> float:
        """Logarithm of the bytes that the whole would have at a strength."""
        level = round(level, _DIGITS)
        if level not in self._levels:
            self._levels[level] = size_of(self._whole.predict_bytes(level))
        return self._levels[level]


def _offsets_of(trial: Trial) -> Mapping[str, float]:
    return {} if trial.family is None else trial.family.offsets
