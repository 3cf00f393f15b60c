"""The search for the smallest file whose true drop is allowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_compress.search.evaluate.items import ItemsChangedError
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.input_error import InputError
from lightning_compress.search.families.output_divergence import OutputDivergence
from lightning_compress.search.feasibility.held_out import Parts, Promise, expected_metrics
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.optimize.bayesian_optimization import minimize_bytes
from lightning_compress.search.sensitivity.calibration import Distillation
from lightning_compress.search.smallest_file.baseline import Baseline
from lightning_compress.search.smallest_file.context import SearchContext
from lightning_compress.search.smallest_file.ending_early import ending_early
from lightning_compress.search.smallest_file.plain_storage import store_exactly, store_plainly
from lightning_compress.search.trials.trials import Trials

_log = logging.getLogger(__name__)
_RESERVED = 3  # evaluations at most that each of the user's families leaves to every one after it


def search_fewest_bytes(
    context: SearchContext,
    families: Sequence[Family],
    parts: Parts,
    promise: Promise,
    baseline: Baseline,
    min_score: float | None,
) -> tuple[Trials, dict[str, Any]]:
    """Search the families, and test what they found; where nothing is feasible, the weights are stored plainly.

    Args:
        context: of the search.
        families: at least one, the most promising first.
        parts: the items that the search reads, and those that confirm its file.
        promise: what the caller asks for.
        baseline: what files are compared with.
        min_score: the lowest score allowed, in addition.

    Returns:
        The trials, with the file as incumbent, and what the record of the search says of its true drop.
    """
    before = parts.searched(parts.before)
    max_drop = baseline.max_drop
    allowed = max_drop if min_score is None else min(max_drop, before.value - min_score)
    objective = FewestBytes(max(allowed - baseline.noise, 0.0), promise.assured_with(before))
    effort, divergence = context.effort, _divergence(context)
    trials = Trials(
        context.evaluator, before, objective, effort.evaluations, context.advance, divergence, parts.searched
    )
    try:
        with ending_early(trials):
            minimize_bytes(trials, families[0], effort, objective.posterior, reserved=trials.remaining - 1)
            if trials.all:
                parts = _parts_that_tell(trials, parts, objective)
                objective.note_noise(trials.all[0])
            _search(context, trials, families, objective, int(parts.confirms))
        return _confirmed(trials, parts, objective, max_drop)
    except ItemsChangedError as error:
        return exact_file(context, error), {}


def _confirmed(trials: Trials, parts: Parts, objective: FewestBytes, max_drop: float) -> tuple[Trials, dict[str, Any]]:
    """Test the files of a search; where none is feasible or the test fails, the weights are stored plainly."""
    if trials.incumbent is None:
        store_plainly(trials, max_drop)
        return trials, {}
    confirmed = None
    with ending_early(trials):
        confirmed = parts.confirm(trials, objective)
    if confirmed is None:
        return trials, expected_metrics(trials, objective)
    if not confirmed["passed"]:
        store_plainly(trials, max_drop)
    return trials, {**expected_metrics(trials, objective), "confirmed": confirmed}


def exact_file(context: SearchContext, error: ItemsChangedError) -> Trials:
    """Trials whose incumbent has the exact weights, since scores of changing items cannot be compared."""
    _log.error("%s. The weights are stored exactly.", error)
    trials = Trials(context.evaluator, error.before, FewestBytes(0.0), context.effort.evaluations, context.advance)
    store_exactly(trials)
    return trials


def _divergence(context: SearchContext) -> Callable[[Mapping[str, Tensor]], float | None]:
    """How the divergence of a file from the exact weights is measured."""
    if isinstance(context.calibration, Distillation):
        return OutputDivergence(context.evaluator, context.calibration)
    return InputError(context.evaluator.weights, context.observations)


def _parts_that_tell(trials: Trials, parts: Parts, objective: FewestBytes) -> Parts:
    """The parts when the first file is known; where the search gets all items, its trials read them."""
    found = parts.if_telling(trials.all[0], objective)
    if found is not parts:
        trials.read(found.before, found.searched)
    return found


def _search(
    context: SearchContext, trials: Trials, families: Sequence[Family], objective: FewestBytes, to_confirm: int
) -> None:
    """Search the families, and leave ``to_confirm`` evaluations over."""
    effort, posterior = context.effort, objective.posterior
    for later, family in zip(reversed(range(len(families))), families, strict=True):
        # The unguided family is hardly ever better than the guided one, so no evaluations are reserved for it.
        share = min(later * _RESERVED, trials.remaining * later // (later + 1))
        reserved = 0 if context.observer is not None else share
        minimize_bytes(trials, family, effort, posterior, reserved=reserved + to_confirm)
    # No family waits any more, so evaluations that were reserved for later families are free.
    minimize_bytes(trials, trials.incumbent_family or families[0], effort, posterior, reserved=to_confirm)
