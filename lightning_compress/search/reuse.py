"""A plan that was found before, tried on newer weights of the same model."""

from __future__ import annotations

from time import perf_counter

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.search.bootstrap import paired_drop
from lightning_compress.search.evaluation import Evaluate, evaluating
from lightning_compress.search.frontier import Frontier
from lightning_compress.search.record import facts_of, with_record
from lightning_compress.weights import Weights


def reuse(plan: Plan, module: nn.Module, evaluate: Evaluate, max_drop: float, weights: Weights) -> Archive | None:
    """The file of a plan if it loses at most ``max_drop`` of the score, else None; takes three evaluations.

    Arguments, metrics and errors as for :func:`smallest`; the frontier is this one file.

    Raises:
        SearchError: an evaluation fails.
        PlanError: the plan does not fit these weights.
    """
    began = perf_counter()
    with evaluating(module, evaluate, weights) as evaluator:
        before, noise = evaluator.baseline()
        archive = compress(evaluator.weights, plan)
        score = evaluator.score(archive.restore(), "the plan found before")
        drop = paired_drop(before, score)
        if drop.value > max_drop - noise:
            return None
        facts = facts_of(before, score, drop, noise, evaluator.count, perf_counter() - began)
        return with_record(archive, facts | {"frontier": Frontier.of([(0.0, archive.nbytes, score.value)]).to_json()})
