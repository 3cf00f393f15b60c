"""The acquisition function: how much an evaluation of a candidate is expected to gain.

It is the constrained expected improvement: improvement over the incumbent times the probability of feasibility (Jones
et al. 1998, "Efficient global optimization of expensive black-box functions"; Gardner et al. 2014, "Bayesian
optimization with inequality constraints"). The objective, bytes, is predicted closely enough to count as known, so the
improvement is no expectation; the constraint, the drop in score, is what the surrogate predicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_compress.search.optimize.search_space import Candidate
from lightning_compress.search.optimize.surrogate import Surrogate


def next_candidate(
    surrogate: Surrogate,
    candidates: Sequence[Candidate],
    max_log_bytes: float,
    *,
    tolerance: float,
    min_improvement: float,
) -> Candidate | None:
    """The candidate with the greatest expected improvement, None where that is too small.

    Args:
        surrogate: conditioned on the trials so far.
        candidates: files that may be evaluated.
        max_log_bytes: logarithm of the bytes of the incumbent, which a file must have fewer than.
        tolerance: candidates whose coordinates are all this near to those of a trial are left out.
        min_improvement: the expected improvement, in the logarithm of bytes, that must be exceeded.
    """
    if not candidates:
        return None
    coordinates = torch.tensor([candidate.coordinates for candidate in candidates], dtype=torch.float64)
    log_bytes = torch.tensor([candidate.log_bytes for candidate in candidates], dtype=torch.float64)
    improvement = expected_improvement(surrogate, coordinates, max_log_bytes - log_bytes)
    distances = torch.cdist(coordinates, surrogate.data.coordinates, p=math.inf)
    improvement[distances.amin(1) < tolerance] = 0
    best = int(improvement.argmax())
    return candidates[best] if float(improvement[best]) > min_improvement else None


def expected_improvement(surrogate: Surrogate, coordinates: Tensor, improvement: Tensor) -> Tensor:
    """``[files]``: improvement times probability of feasibility.

    Args:
        surrogate: conditioned on the trials so far.
        coordinates: ``[files, parts]`` float64.
        improvement: ``[files]``, by which the logarithm of the bytes of each file is below the incumbent's.
    """
    return improvement * surrogate.probability_of_feasibility(coordinates)
