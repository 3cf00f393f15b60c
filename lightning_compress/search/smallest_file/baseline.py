"""The score of the exact weights, which all files are compared with, and its noise."""

from __future__ import annotations

import logging

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.smallest_file.context import SearchContext

_log = logging.getLogger(__name__)
_NEGLIGIBLE_NOISE = 1e-3  # fraction of the allowed drop; more is logged


def score_exact_weights(context: SearchContext, max_drop: float, min_score: float | None) -> tuple[Score, float]:
    """Evaluate the exact weights twice.

    Returns:
        Their score, and the distance between both evaluations, 0 where they agree.

    Raises:
        SearchError: the evaluation fails, is less repeatable than ``max_drop``, or gives less than ``min_score``.
    """
    evaluator = context.evaluator
    before, noise = evaluator.baseline(None if context.observer is None else context.observer.recording)
    context.advance(evaluator.count, f"score {before.value:.4g}")
    if noise and noise >= max_drop:
        raise SearchError(
            f"evaluate is not repeatable: it gave {before.value} for the exact weights, and then something "
            f"{noise:.4g} away, no less than max_drop={max_drop}. Evaluate on the same data in the same "
            "order, and without sampling; or allow a larger drop."
        )
    if noise > _NEGLIGIBLE_NOISE * max_drop:
        _log.warning(
            "evaluate is not repeatable: %.4g apart for the same weights; the allowed drop is reduced by this",
            noise,
        )
    _log.info(
        "the search takes at most %d evaluations, about %.0f minutes; making the files comes on top",
        context.effort.evaluations,
        context.effort.evaluations * context.seconds / max(evaluator.count, 1) / 60,
    )
    if min_score is not None and before.value < min_score:
        raise SearchError(
            f"the exact weights score {before.value}, which is below min_score={min_score} already: train "
            "further, or ask for less"
        )
    return before, noise
