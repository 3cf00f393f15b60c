"""Bayesian optimization: the loop that looks for the smallest feasible file of a family.

Each turn conditions the surrogate on the trials, draws candidates from the search space and evaluates the one with the
greatest expected improvement, until that is too small or the evaluation budget is used up (Shahriari et al. 2016,
"Taking the human out of the loop: a review of Bayesian optimization", algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lightning_compress.search.effort import Effort
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import strength_for
from lightning_compress.search.optimize.acquisition import next_candidate
from lightning_compress.search.optimize.posterior import Posterior
from lightning_compress.search.optimize.search_space import MAX_STEP, SearchSpace
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

_FIRST_BITS = 3.0  # for each weight, in the first file of a search
_FIRST_SAVING = 0.03  # fraction of the incumbent's bytes that the first file of another family saves
MIN_IMPROVEMENT = 0.5  # the smallest expected improvement worth an evaluation, as a fraction of the tolerance


def minimize_bytes(
    trials: Trials,
    family: Family,
    effort: Effort,
    posterior: Callable[[Sequence[Trial]], Posterior],
    *,
    reserved: int = 0,
) -> None:
    """Evaluate files of a family, with any offsets, as long as one is expected to improve on the incumbent.

    Args:
        trials: so far; new ones are added.
        family: where to start; trials of other offsets count as its own.
        effort: has the tolerance, a relative difference in bytes.
        posterior: what trials say together.
        reserved: evaluations to leave over; one is left over in any case while no file is feasible.
    """
    while trials.remaining > max(reserved, trials.incumbent is None):
        proposal = _propose(trials, family, posterior(trials.all), effort)
        if proposal is None:
            return
        candidate, strength = proposal
        remaining = trials.remaining
        trials.evaluate(candidate.archive(strength), candidate, strength)
        if trials.remaining == remaining:  # equal weights were scored before: the strength has no effect any more
            return


def _propose(trials: Trials, family: Family, posterior: Posterior, effort: Effort) -> tuple[Family, float] | None:
    """The family with the offsets to evaluate next, and the strength; None where nothing is expected to improve."""
    surrogate = posterior.surrogate_of(family)
    if surrogate is None:
        return _first(trials, family)
    space = SearchSpace(family, trials.informing(family), surrogate.data)
    incumbent = trials.incumbent
    max_log_bytes = space.max_log_bytes + MAX_STEP if incumbent is None else math.log(incumbent[0].nbytes)
    found = next_candidate(
        surrogate,
        space.candidates(max_log_bytes),
        max_log_bytes,
        tolerance=effort.tolerance,
        min_improvement=MIN_IMPROVEMENT * effort.tolerance,
    )
    return None if found is None else (family.with_offsets(found.offsets), found.strength)


def _first(trials: Trials, family: Family) -> tuple[Family, float] | None:
    """The first file of a family, which no trial informs; None where it is not smaller than the incumbent."""
    strength = strength_for(family, _first_bytes(trials))
    if trials.incumbent is not None and family.predict_bytes(strength) >= trials.incumbent[0].nbytes:
        return None
    return family, strength


def _first_bytes(trials: Trials) -> float:
    if trials.incumbent is not None and trials.incumbent_family is not None:
        return trials.incumbent[0].nbytes * (1 - _FIRST_SAVING)
    weights = sum(weight.tensor.numel() for weight in trials.evaluator.weights)
    return _FIRST_BITS * max(weights, 1) / 8
