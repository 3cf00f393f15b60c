"""Reuse of the plan of an earlier search for newer weights of the same model."""

from __future__ import annotations

from statistics import NormalDist

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.compression.pipeline import compress
from lightning_compress.plan import Plan
from lightning_compress.search.arguments import check_assured
from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.evaluate.evaluation import Evaluate, evaluating
from lightning_compress.search.families.calibrated import calibrated_archive
from lightning_compress.search.families.input_guided import Observer, grid_guides
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.manifest_metrics import search_metrics, with_search_metrics
from lightning_compress.search.sensitivity.calibration import CalibrationData, check_calibration
from lightning_compress.weights import Weights


def reuse(
    plan: Plan,
    module: nn.Module,
    evaluate: Evaluate,
    max_drop: float | str | MaxDrop,
    weights: Weights,
    *,
    calibration: CalibrationData | None = None,
    observed: bool = False,
    assured: float = 0.5,
) -> Archive | None:
    """The archive of a plan if its score drops by at most ``max_drop``, else None; takes three evaluations.

    Where the score has statistics, the drop must be allowed with the probability ``assured``, by its bootstrap.

    Row exponents and error feedback are computed from these weights: with calibration data if there are any, otherwise
    with statistics of the evaluation, if the search used them. Metrics as for :func:`smallest`; the frontier is this
    one file.

    Args:
        plan: of the file that a search returned.
        module: as for :func:`smallest`.
        evaluate: as for :func:`smallest`.
        max_drop: as for :func:`smallest`, and required.
        weights: the exact weights.
        calibration: that of the search, None where it had none.
        observed: whether statistics of the evaluation guided its grids (``observed`` in its metrics); without effect
            where there is calibration.
        assured: probability that the allowed drop is kept, 0.5 to below 1.

    Raises:
        SearchError: a wrong argument; an evaluation or a batch of calibration that fails.
        PlanError: the plan does not fit these weights.
    """
    allowed = MaxDrop.parse(max_drop)
    check_assured(assured)
    with evaluating(module, evaluate, weights) as evaluator:
        if calibration is not None:
            with evaluator.exact_weights():
                check_calibration(calibration, module)
        observer = Observer(evaluator.weights, module) if observed and calibration is None else None
        before, noise = evaluator.baseline(None if observer is None else observer.recording)
        guides = {} if observer is None else grid_guides(evaluator.weights, observer.observations)
        if calibration is None:
            archive = compress(evaluator.weights, plan, guidance=guides)
        else:
            archive = calibrated_archive(plan, evaluator.weights, module, calibration, loaded=evaluator.exact_weights)
        score = evaluator.score(archive.restore(), "the plan found before")
        drop = paired_drop(before, score)
        if drop.value + NormalDist().inv_cdf(assured) * drop.deviation > allowed.in_unit_of(before.value) - noise:
            return None
        metrics = search_metrics(before, score, drop, noise, evaluator.count)
        if guides:
            metrics["observed"] = True
        metrics["frontier"] = Frontier.of([(0.0, archive.nbytes, score.value)]).to_json()
        return with_search_metrics(archive, metrics)
