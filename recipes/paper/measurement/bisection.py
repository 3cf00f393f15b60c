"""The largest setting that is still good, with few evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class BisectionResult(Generic[Setting]):
    """What a bisection found.

    Attributes:
        setting: the largest good one; None where not even the first is good.
        evaluations: how many settings were looked at.
    """

    setting: Setting | None
    evaluations: int


def bisect_largest(settings: Sequence[Setting], is_good: Callable[[Setting], bool]) -> BisectionResult[Setting]:
    """Find the last good setting by halving, none looked at twice.

    What is good before something bad is taken for granted; where noise makes it untrue, the answer is one good setting
    whose next is bad.

    Args:
        settings: from the most to the least careful.
        is_good: whether a setting is good enough.
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
