"""The weakest archive of a family that has no more than so many bytes: measured, without an evaluation."""

from __future__ import annotations

import math
from dataclasses import replace

from lightning_compress.archive import Archive
from lightning_compress.errors import SearchError
from lightning_compress.search.families.family import Family, PlanFamily

_PREDICTED, _HALVED = 3, 7  # archives made at most: where a prediction leads, then halving what is left
_CLOSE = 0.99  # share of the room that is worth no further archive
_RECOVERED = 3  # archives with recovery at most
_SAME = 1e-3  # difference in strength that is none


def fit_budget(family: Family, room: int) -> tuple[float, Archive]:
    """Strength and archive of the least strength found whose archive fits the room; the smallest archive if none does.

    Each archive corrects the prediction for the next, and the strengths that fit and those that do not close in on each
    other.

    Recovery takes long and hardly changes bytes, so of a family with recovery the room is fitted without.

    Args:
        family: of archives.
        room: bytes of the file.
    """
    if not isinstance(family, PlanFamily) or family.recover is None:
        return _fitted(family, room)
    draft, aim = replace(family, recover=None), room
    for _ in range(_RECOVERED):
        strength, _ = _fitted(draft, aim)
        archive = family.archive(strength)
        if archive.nbytes <= room:
            break
        aim -= 2 * (archive.nbytes - room)
    return strength, archive


def _fitted(family: Family, room: int) -> tuple[float, Archive]:
    too_large, fits = -math.inf, math.inf
    best: tuple[float, Archive] | None = None
    bias = 1.0
    for attempt in range(_PREDICTED + _HALVED):
        # A little less than the room, so that a prediction that is a little short still fits.
        strength = strength_at(family, room * math.sqrt(_CLOSE) / bias)
        if attempt >= _PREDICTED or (attempt and not too_large < strength < fits):
            strength = (max(too_large, family.weakest) + min(fits, family.strongest)) / 2
        archive = family.archive(strength)
        bias = archive.nbytes / family.predict_bytes(strength)
        if archive.nbytes <= room:
            best, fits = (strength, archive), strength
            if archive.nbytes >= _CLOSE * room or strength <= family.weakest:
                break
        else:
            too_large = strength
        if fits - too_large < _SAME:
            break
    return best or (family.strongest, family.archive(family.strongest))


def strength_at(family: Family, predicted: float) -> float:
    """The least strength for which no more than ``predicted`` bytes are predicted; the greatest where none is."""
    low, high = family.weakest, family.strongest
    if family.predict_bytes(low) <= predicted:
        return low
    while high - low > _SAME / 8:
        middle = (low + high) / 2
        low, high = (low, middle) if family.predict_bytes(middle) <= predicted else (middle, high)
    return high


def unreachable(max_bytes: int, smallest: int) -> SearchError:
    """The error for a budget that no archive fits."""
    return SearchError(
        f"no file of {max_bytes:,} bytes can be made: the smallest has {smallest:,} bytes. "
        f"Give max_bytes={smallest} or more."
    )
