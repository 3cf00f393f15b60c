"""The strength at which an archive has a given size: by prediction, and by measured bytes; no evaluation is needed."""

from __future__ import annotations

import math

from lightning_compress.archive import Archive
from lightning_compress.errors import SearchError
from lightning_compress.search.families.family import Family

_PREDICTED, _BISECTED = 3, 7  # archives made at most: at corrected predictions, then by bisection
_CLOSE = 0.99  # fraction of the allowed bytes from which on no further archive is made
_STRENGTH_TOLERANCE = 1e-3


def fit_bytes(family: Family, max_bytes: int) -> tuple[float, Archive]:
    """The smallest strength found whose archive has at most ``max_bytes``, and the archive.

    Each archive corrects the prediction for the next one; the strengths known to fit and not to fit bracket the result,
    and where the prediction fails the bracket is bisected. Where nothing fits, the smallest archive is returned.

    Args:
        family: of archives.
        max_bytes: of the archive.
    """
    too_large, fits = -math.inf, math.inf
    best: tuple[float, Archive] | None = None
    correction = 1.0  # measured over predicted bytes
    for attempt in range(_PREDICTED + _BISECTED):
        # The target is a little below the allowed bytes, so that an archive slightly above its prediction still fits.
        strength = strength_for(family, max_bytes * math.sqrt(_CLOSE) / correction)
        if attempt >= _PREDICTED or (attempt and not too_large < strength < fits):
            strength = (max(too_large, family.weakest) + min(fits, family.strongest)) / 2
        archive = family.archive(strength)
        correction = archive.nbytes / family.predict_bytes(strength)
        if archive.nbytes <= max_bytes:
            best, fits = (strength, archive), strength
            if archive.nbytes >= _CLOSE * max_bytes or strength <= family.weakest:
                break
        else:
            too_large = strength
        if fits - too_large < _STRENGTH_TOLERANCE:
            break
    return best or (family.strongest, family.archive(family.strongest))


def strength_for(family: Family, predicted_bytes: float) -> float:
    """The smallest strength with no more predicted bytes, by bisection; the greatest strength where there is none."""
    low, high = family.weakest, family.strongest
    if family.predict_bytes(low) <= predicted_bytes:
        return low
    while high - low > _STRENGTH_TOLERANCE / 8:
        middle = (low + high) / 2
        low, high = (low, middle) if family.predict_bytes(middle) <= predicted_bytes else (middle, high)
    return high


def unreachable(max_bytes: int, smallest: int) -> SearchError:
    """The error for a ``max_bytes`` that no archive fits."""
    return SearchError(
        f"no file of {max_bytes:,} bytes can be made: the smallest has {smallest:,} bytes. "
        f"Give max_bytes={smallest} or more."
    )
