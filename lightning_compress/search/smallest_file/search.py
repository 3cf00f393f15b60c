"""``smallest``: the smallest file at an allowed drop in score, or the best score in a given size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.errors import SearchError
from lightning_compress.messages.progress import progress_bar
from lightning_compress.search.arguments import (
    ASSURED,
    check_assured,
    check_confirm,
    check_flag,
    check_max_bytes,
    check_search,
)
from lightning_compress.search.effort import effort_of
from lightning_compress.search.evaluate.evaluation import Evaluate, check_arguments, evaluating
from lightning_compress.search.evaluate.items import ItemsChangedError
from lightning_compress.search.families.calibrated import calibrated_families
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.input_guided import Observer, input_guided_families
from lightning_compress.search.feasibility.held_out import Parts, Promise
from lightning_compress.search.max_drop import MaxDrop, name_of
from lightning_compress.search.sensitivity.calibration import CalibrationData, check_calibration
from lightning_compress.search.smallest_file.baseline import score_exact_weights
from lightning_compress.search.smallest_file.best_score import search_best_score
from lightning_compress.search.smallest_file.context import SearchContext
from lightning_compress.search.smallest_file.fewest_bytes import exact_file, search_fewest_bytes
from lightning_compress.search.smallest_file.metrics import with_metrics
from lightning_compress.weights import Weights

Families = Callable[[Weights], Sequence[Family]]


def smallest(
    module: nn.Module,
    evaluate: Evaluate,
    max_drop: float | str | MaxDrop | None = None,
    *,
    max_bytes: int | None = None,
    min_score: float | None = None,
    assured: float = ASSURED,
    confirm: Evaluate | bool = True,
    calibration: CalibrationData | None = None,
    effort: str = "default",
    progress: bool = True,
    families: Families | None = None,
    weights: Weights | None = None,
    exclude: Sequence[str] = (),
    classes: Mapping[str, str | Sequence[str]] | None = None,
) -> Archive:
    """Search the smallest file that loses at most ``max_drop`` of the score, on text like that it is measured on.

    Candidates are loaded in place into ``module``, which is restored bit for bit: weights, buffers, modes, gradients
    and random states. No second model is made. A file is returned in any case: where no quantized file is feasible, it
    has the weights in half precision or losslessly, and both the log and the file say so.

    The file's metrics hold under ``search``: ``score_before``, ``score_after``, ``drop``, its 95 % ``interval`` where
    the score has statistics, ``noise`` between two evaluations of the same weights, ``evaluations``, ``observed``
    where statistics of the evaluation guided the grids, and the ``frontier`` of ``[strength, bytes, score]`` that
    :func:`retarget` makes other sizes from; and of the drop on other text ``expected_drop``, its 95 %
    ``expected_interval``, the probability ``assured`` that it is allowed, the number of ``items`` and, where the file
    was tested, ``confirmed``. How long the search took is in the log.

    A search that ends early, by an interrupt or because ``evaluate`` fails, returns the best file found so far; log and
    file (``interrupted``) say so. Where there is none yet, the exception is raised.

    Args:
        module: a module with the exact weights loaded.
        evaluate: module → a number or :class:`Score`, higher is better. It is called in ``eval()`` mode, without
            gradients, each time from the same random state.
        max_drop: the largest loss of score allowed: a number in the unit of the score, or a share of the score of the
            exact weights such as ``"1%"``. Required, unless ``max_bytes`` is given or the name of ``evaluate`` has
            BLEU in it: then it is ``"1%"``.
        max_bytes: a size in bytes instead: the best score in a file of at most this size, whatever the drop.
        min_score: the lowest score that the file may have, in addition to ``max_drop``; exact weights below it are an
            error.
        assured: the posterior probability, 0.5 to below 1, that the file's true drop is at most ``max_drop``; a larger
            one costs bytes.
        confirm: module → :class:`Score` of items that ``evaluate`` does not score: the file is tested on them, once or
            at most three times. True sets a third of the items of ``evaluate`` apart where it has statistics of 2,000
            or more and a third of them can tell; False does not.
        calibration: batches with their loss (:class:`Calibration`) or the module's outputs (:class:`Distillation`):
            steps follow the sensitivity of the loss, errors are fed back within a matrix, and each matrix makes up for
            the errors of those before it. The method is also called in threads, one at a time.
        effort: ``"quick"`` (at most 8 evaluations), ``"default"`` (20) or ``"thorough"`` (60).
        progress: whether to show a progress bar, where the error stream is a terminal.
        families: weights → the families to search, the most promising first; by default
            :func:`input_guided_families`, or with calibration data :func:`calibrated_families`.
        weights: the exact weights where they are not those of the module, as with averaged ones.
        exclude: patterns of tensors to leave out; not with ``weights``.
        classes: class name → patterns, over the derived classes; not with ``weights``.

    Returns:
        The archive, to be saved.

    Raises:
        SearchError: a wrong argument, before anything is evaluated; an evaluation that is not repeatable, or that
            raises or gives NaN before a file is found; exact weights below ``min_score``; calibration batches that
            fail; a ``max_bytes`` that no file reaches. The module is restored.
        WeightsError: the module's weights cannot be read.
    """
    check_arguments(module, evaluate)
    unlimited = max_drop is None and max_bytes is not None
    allowed = MaxDrop(math.inf) if unlimited else MaxDrop.of(max_drop, name_of(evaluate))
    check_search(min_score, families, weights, exclude, classes)
    check_flag("progress", progress)
    promise = Promise(check_assured(assured), check_confirm(confirm, evaluate))
    max_bytes = None if max_bytes is None else check_max_bytes(max_bytes)
    limits = effort_of(effort)
    source = weights if weights is not None else Weights.from_module(module, exclude=exclude, classes=classes)
    with evaluating(module, evaluate, source) as evaluator, progress_bar(progress, limits.evaluations) as advance:
        if calibration is not None:
            with evaluator.exact_weights():
                check_calibration(calibration, module)
        observer = Observer(evaluator.weights, module) if calibration is None and families is None else None
        context = SearchContext(evaluator, observer, calibration, limits, advance)
        try:
            baseline = score_exact_weights(context, allowed, min_score)
        except ItemsChangedError as error:
            if max_bytes is not None:
                raise
            return with_metrics(context, exact_file(context, error), 0.0, {})
        made = (families or partial(default_families, context))(evaluator.weights)
        if not made:
            raise SearchError("families gave none: return a list of at least one family")
        if max_bytes is not None:
            trials = search_best_score(context, made, baseline.score, max_bytes)
            return with_metrics(context, trials, baseline.noise, {}, max_bytes)
        parts = Parts.of(baseline.score, promise.confirm)
        trials, extra = search_fewest_bytes(context, made, parts, promise, baseline, min_score)
        return with_metrics(context, trials, baseline.noise, extra)


def default_families(context: SearchContext, weights: Weights) -> Sequence[Family]:
    """The families that are searched where none are given."""
    evaluator = context.evaluator
    if context.calibration is None:
        return input_guided_families(weights, context.observations)
    return calibrated_families(weights, evaluator.module, context.calibration, loaded=evaluator.exact_weights)
