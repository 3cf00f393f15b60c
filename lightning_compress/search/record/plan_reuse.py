"""A plan that was found before, tried on newer weights of the same model."""

from __future__ import annotations

from time import perf_counter

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.pipeline.compression import compress
from lightning_compress.plan import Plan
from lightning_compress.search.effort import effort_of
from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.evaluate.evaluation import Evaluate, evaluating
from lightning_compress.search.families.calibrated import guided_archive
from lightning_compress.search.families.input_guided import Observer, guides_of
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.record import facts_of, with_record
from lightning_compress.search.sensitivity.calibration import Calibration, Distillation, check_calibration
from lightning_compress.weights import Weights


def reuse(
    plan: Plan,
    module: nn.Module,
    evaluate: Evaluate,
    max_drop: float,
    weights: Weights,
    *,
    calibration: Calibration | None = None,
    recovered: bool = False,
    observed: bool = False,
    effort: str = "default",
) -> Archive | None:
    """The file of a plan if it loses at most ``max_drop`` of the score, else None; takes three evaluations.

    With calibration data the plan is guided by what they measure of these weights: exponents of rows, and feedback of
    errors; without, by what the evaluation shows, if that was so in the search. Arguments, metrics and errors as for
    :func:`smallest`; the frontier is this one file.

    Args:
        plan: as a search found it.
        module: and the following four as for :func:`smallest`.
        evaluate: see there.
        max_drop: see there.
        weights: see there.
        calibration: that of the search, None where it had none.
        recovered: whether the file found by the search was recovered (``recovered`` in its metrics).
        observed: whether its grids were guided by the evaluation (``observed`` in its metrics); not with calibration.
        effort: that of the search; how many batches recovery takes.

    Raises:
        SearchError: an evaluation or a batch of calibration fails.
        PlanError: the plan does not fit these weights.
    """
    began, batches = perf_counter(), effort_of(effort).recovery if recovered else 0
    with evaluating(module, evaluate, weights) as evaluator:
        if calibration is not None:
            with evaluator.exact_weights():
                check_calibration(calibration, module)
        observer = Observer(evaluator.weights, module) if observed and calibration is None else None
        before, noise = evaluator.baseline(None if observer is None else observer.watching)
        guides = {} if observer is None else guides_of(observer.observations)
        if calibration is None:
            archive = compress(evaluator.weights, plan, guidance=guides)
        else:
            archive = guided_archive(
                plan, evaluator.weights, module, calibration, batches, loaded=evaluator.exact_weights
            )
        score = evaluator.score(archive.restore(), "the plan found before")
        drop = paired_drop(before, score)
        if drop.value > max_drop - noise:
            return None
        facts = facts_of(before, score, drop, noise, evaluator.count, perf_counter() - began)
        if batches and isinstance(calibration, Distillation):
            facts["recovered"] = True
        if guides:
            facts["observed"] = True
        return with_record(archive, facts | {"frontier": Frontier.of([(0.0, archive.nbytes, score.value)]).to_json()})
