"""A file that is likely to be confirmed: without one, bad luck on the confirming items costs a file of half precision.

A search looks for files near what is allowed, and the safest of them may still fail on other items one time in four. A
test of fixed sequence should begin with a file that hardly ever fails, which takes some more bytes.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from lightning_compress.search.evaluate.items import item_count
from lightning_compress.search.families.target_size import strength_for
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.optimize.trial_data import PRIOR_RATE
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

_PASSES = 0.95  # probability with which the first file of the sequence should be confirmed
_LEAST_LOSS = 1 / 6  # of what is allowed: no file is made that should lose less
_TELLING, _LOSS = 0.9, 1 / 3  # items can confirm if a file that loses this share of what is allowed passes so often


def can_confirm(deviation: float, max_drop: float, assured: float) -> bool:
    """Whether items can tell that a file which keeps the promise well does so.

    Args:
        deviation: standard deviation of a drop on the confirming items.
        max_drop: the largest allowed drop.
        assured: probability of the test.
    """
    needed = NormalDist().inv_cdf(assured) + NormalDist().inv_cdf(_TELLING)
    return needed * deviation <= (1 - _LOSS) * max_drop


def evaluate_safer(trials: Trials, objective: FewestBytes, safest: Trial, items: int) -> None:
    """Evaluate a larger file than the safest one, where that is likely to fail on the confirming items.

    Args:
        trials: of the search; the new one is added. It needs an evaluation that is left.
        objective: says what is allowed.
        safest: of the feasible files.
        items: number of the confirming items.
    """
    searched = item_count(trials.before)
    true = objective.posterior(trials.all).true_drops.get(trials.all.index(safest))
    if true is None or safest.family is None or searched is None or not trials.remaining:
        return
    normal = NormalDist()
    noise = safest.drop.deviation * math.sqrt(searched / items)
    spread = math.hypot(noise, (true.high - true.low) / (2 * normal.inv_cdf(0.975)))
    limit = objective.max_drop - normal.inv_cdf(objective.assured) * noise - normal.inv_cdf(_PASSES) * spread
    limit = max(limit, _LEAST_LOSS * objective.max_drop)
    if true.mean <= limit:
        return
    larger = safest.family.predict_bytes(safest.strength) * (true.mean / limit) ** (1 / PRIOR_RATE)
    strength = strength_for(safest.family, larger)
    trials.evaluate(safest.family.archive(strength), safest.family, strength)
