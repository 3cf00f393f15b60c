"""Coordinates of files: for each part, the logarithm of the bytes that the whole model would have at its strength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_compress.search.families.family import Family
from lightning_compress.search.trials.trial import Trial

_DIGITS = 6  # of a strength


class CoordinateMap:
    """Strengths and offsets of a family → coordinates; equal strengths give equal numbers."""

    def __init__(self, family: Family) -> None:
        self.parts = list(family.shares)
        self.without_offsets = family.with_offsets({})
        self._log_bytes: dict[float, float] = {}

    def of(self, strength: float, offsets: Mapping[str, float]) -> tuple[float, ...]:
        """The coordinates of a file; one number where the family has no parts."""
        strengths = [strength + offsets.get(part, 0.0) for part in self.parts] or [strength]
        return tuple(map(self.at, strengths))

    def at(self, strength: float) -> float:
        """Logarithm of the predicted bytes of the whole model at a strength."""
        strength = round(strength, _DIGITS)
        if strength not in self._log_bytes:
            self._log_bytes[strength] = math.log(self.without_offsets.predict_bytes(strength))
        return self._log_bytes[strength]


def coordinates_of(trials: Sequence[Trial], family: Family) -> Tensor:
    """``[trials, parts]`` float64."""
    coordinates = CoordinateMap(family)
    return torch.tensor([coordinates.of(trial.strength, offsets_of(trial)) for trial in trials], dtype=torch.float64)


def offsets_of(trial: Trial) -> Mapping[str, float]:
    """Offsets of the trial's family."""
    return {} if trial.family is None else trial.family.offsets
