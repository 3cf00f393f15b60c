"""The score of the exact weights, which all files are compared with, and its noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lightning_compress.errors import SearchError
from lightning_compress.messages.durations import in_minutes
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.search.smallest_file.context import SearchContext

_log = logging.getLogger(__name__)
_NEGLIGIBLE_NOISE = 1e-3  # fraction of the allowed drop; more is logged


@dataclass(frozen=True, eq=False)
class Baseline:
    """What files are compared with.

    Attributes:
        score: of the exact weights.
        noise: the distance between two evaluations of them, 0 where they agree.
        max_drop: the largest allowed drop, in the unit of the score.
    """

    score: Score
    noise: float
    max_drop: float


def score_exact_weights(context: SearchContext, max_drop: MaxDrop, min_score: float | None) -> Baseline:
    """Evaluate the exact weights twice, and say what the search will cost.

    Raises:
        SearchError: the evaluation fails, is less repeatable than ``max_drop``, or gives less than ``min_score``.
        ItemsChangedError: the two evaluations score other items, or in another order.
    """
    evaluator = context.evaluator
    before, noise = evaluator.baseline(None if context.observer is None else context.observer.recording)
    duration = in_minutes(context.effort.evaluations * context.seconds / max(evaluator.count, 1))
    context.advance(evaluator.count, f"score {before.value:.4g}, evaluations of up to {duration}")
    allowed = max_drop.in_unit_of(before.value)
    max_drop.warn_if_large(before.value)
    if noise and noise >= allowed:
        raise SearchError(
            f"evaluate is not repeatable: it gave {before.value} for the exact weights, and then something "
            f"{noise:.4g} away, no less than max_drop={allowed:.4g}. Evaluate on the same data in the same "
            "order, and without sampling; or allow a larger drop."
        )
    if noise > _NEGLIGIBLE_NOISE * allowed:
        _log.warning(
            "evaluate is not repeatable: %.4g apart for the same weights; the allowed drop is reduced by this",
            noise,
        )
    _log.info(
        "the search takes at most %d evaluations, about %s; making the files comes on top",
        context.effort.evaluations,
        duration,
    )
    if min_score is not None and before.value < min_score:
        raise SearchError(
            f"the exact weights score {before.value}, which is below min_score={min_score} already: train "
            "further, or ask for less"
        )
    return Baseline(before, noise, allowed)
