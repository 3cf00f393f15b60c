"""What the file of a search says of it: the metrics under ``search``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lightning_compress.archive import Archive
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.manifest_metrics import search_metrics, with_search_metrics
from lightning_compress.search.smallest_file.context import SearchContext
from lightning_compress.search.smallest_file.plain_storage import plain_name
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

_log = logging.getLogger(__name__)


def with_metrics(
    context: SearchContext, trials: Trials, noise: float, extra: Mapping[str, Any], max_bytes: int | None = None
) -> Archive:
    """The incumbent's archive with the metrics of its search.

    Args:
        context: of the search.
        trials: with an incumbent.
        noise: between two evaluations of the exact weights.
        extra: what is known of the true drop.
        max_bytes: that the file may have with its metrics; None for any size.
    """
    assert trials.incumbent is not None
    trial, archive = trials.incumbent
    # The time goes to the log alone: the same search gives the same file.
    _log.info("the search took %d evaluations in %.1f s", context.evaluator.count, context.seconds)
    return with_search_metrics(archive, _metrics(context, trials, trial, noise, extra), max_bytes)


def _metrics(
    context: SearchContext, trials: Trials, trial: Trial, noise: float, extra: Mapping[str, Any]
) -> dict[str, Any]:
    metrics = search_metrics(trials.before, trial.score, trial.drop, noise, context.evaluator.count) | dict(extra)
    if name := plain_name(trials):
        metrics["fallback"] = name
    if trials.interrupted:
        metrics["interrupted"] = trials.interrupted
    if context.observer is not None and isinstance(trial.family, PlanFamily) and trial.family.guidance:
        metrics["observed"] = True
    points = ((t.strength, t.nbytes, t.score.value) for t in trials.all if t.family is not None)
    return metrics | {"frontier": Frontier.of(points).to_json()}
