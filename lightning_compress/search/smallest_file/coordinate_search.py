"""Coordinate search: the loop that looks for the best score in a given size.

One coordinate after the other, the strength of a part, is changed by a step in both directions, and a change that
scores better stays (the exploratory moves of Hooke and Jeeves 1961, "'Direct search' solution of numerical and
statistical problems"). All other parts make up for the bytes, so parts exchange bytes and the size stays.
"""

from __future__ import annotations

from lightning_compress.search.effort import Effort
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import fit_bytes
from lightning_compress.search.trials.trials import Trials

_STEP = 0.5  # of the strength


def maximize_score(trials: Trials, effort: Effort, max_bytes: int) -> None:
    """Change the offsets of the incumbent's family, in the rounds of the effort, as long as the score rises."""
    for _ in range(effort.rounds):
        start = trials.incumbent_family
        if start is None or _one_round(trials, start, max_bytes) is start:
            return


def _one_round(trials: Trials, start: Family, max_bytes: int) -> Family:
    """The family after each part was tried stronger and weaker once; ``start`` itself where nothing improved."""
    assert trials.incumbent is not None
    family = start
    for part in start.shares:
        for step in (_STEP, -_STEP):
            if not trials.remaining:
                return family
            candidate = family.with_offsets({**family.offsets, part: family.offsets.get(part, 0.0) + step})
            strength, archive = fit_bytes(candidate, max_bytes)
            if archive.nbytes > max_bytes:
                continue
            trial = trials.evaluate(archive, candidate, strength)
            if trials.incumbent[0] is trial:
                family = candidate
                break
    return family
