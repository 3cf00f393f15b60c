"""Bisection: find the largest acceptable setting with few evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class BisectionResult(Generic[Setting]):
    """Result of a bisection.

    Attributes:
        setting: the largest acceptable setting; None if even the first is not acceptable.
        evaluations: number of settings evaluated.
    """

    setting: Setting | None
    evaluations: int


def bisect_largest(settings: Sequence[Setting], is_good: Callable[[Setting], bool]) -> BisectionResult[Setting]:
    """Find the last acceptable setting by bisection; no setting is evaluated twice.

    Acceptability is assumed to be monotone. If noise violates this, the result is an acceptable setting whose successor
    is not acceptable.

    Args:
        settings: ordered from the mildest to the strongest compression.
        is_good: whether a setting is acceptable.
    """
    good, bad, evaluations = -1, len(settings), 0
    while bad - good > 1:
        middle = (good + bad) // 2
        evaluations += 1
        if is_good(settings[middle]):
            good = middle
        else:
            bad = middle
    return BisectionResult(settings[good] if good >= 0 else None, evaluations)
