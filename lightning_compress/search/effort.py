"""Effort: the limits of a search, by name."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_compress.errors import SearchError


@dataclass(frozen=True)
class Effort:
    """Limits of a search.

    Attributes:
        evaluations: the evaluation budget: calls of ``evaluate`` at most, the two of the exact weights included.
        tolerance: relative difference in bytes that is too small for an evaluation.
        rounds: of the coordinate search, where the size is given.
    """

    evaluations: int
    tolerance: float
    rounds: int


EFFORTS = {
    "quick": Effort(evaluations=8, tolerance=0.03, rounds=0),
    "default": Effort(evaluations=16, tolerance=0.01, rounds=1),
    "thorough": Effort(evaluations=60, tolerance=0.005, rounds=3),
}


def effort_of(name: str) -> Effort:
    """The limits of a name.

    Raises:
        SearchError: an unknown name.
    """
    if not isinstance(name, str) or name not in EFFORTS:
        raise SearchError(f"effort={name!r} is not known: write {', '.join(map(repr, EFFORTS))}")
    return EFFORTS[name]
