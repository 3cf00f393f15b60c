"""A curve through points of ratio and BLEU: what can be had at each ratio."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from benchmarks.rate_distortion.points import Point


def frontier(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in both ratio and BLEU, in order of ratio; BLEU falls along them."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.ratio, -p.bleu)):
        if not best or point.bleu > best[-1].bleu:
            best.append(point)
    return best[::-1]


def at_ratio(curve: list[Point], ratio: float) -> float | None:
    """BLEU of a frontier at a ratio, on the straight line between its neighbours; None outside the frontier."""
    if curve and ratio == curve[0].ratio:
        return curve[0].bleu
    for left, right in pairwise(curve):
        if left.ratio < ratio <= right.ratio:
            share = (ratio - left.ratio) / (right.ratio - left.ratio)
            return left.bleu + share * (right.bleu - left.bleu)
    return None
