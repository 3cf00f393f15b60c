"""``smallest``: the smallest file at an allowed drop in score, or the best score in a given size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from torch import Tensor, nn

from lightning_compress.archive import Archive
from lightning_compress.compression.pipeline import compress
from lightning_compress.errors import SearchError
from lightning_compress.runtime.progress import Advance, progress_bar
from lightning_compress.search.arguments import (
    check_assured,
    check_confirm,
    check_flag,
    check_max_bytes,
    check_search,
)
from lightning_compress.search.effort import Effort, effort_of
from lightning_compress.search.evaluate.evaluation import Evaluate, Evaluator, check_arguments, evaluating
from lightning_compress.search.evaluate.items import ItemOrderError
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.calibrated import calibrated_families
from lightning_compress.search.families.family import Family, PlanFamily
from lightning_compress.search.families.input_error import InputError
from lightning_compress.search.families.input_guided import Observer, input_guided_families
from lightning_compress.search.families.output_divergence import OutputDivergence
from lightning_compress.search.families.target_size import fit_bytes, unreachable
from lightning_compress.search.optimize.bayesian_optimization import minimize_bytes
from lightning_compress.search.optimize.coordinate_search import maximize_score
from lightning_compress.search.optimize.held_out import Parts, Promise, expected_metrics
from lightning_compress.search.optimize.plain_storage import PLAIN, plain_name
from lightning_compress.search.optimize.promise import ASSURED, FewestBytes
from lightning_compress.search.optimize.trials import BestScore, Trial, Trials
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.manifest_metrics import reserved_bytes, search_metrics, with_search_metrics
from lightning_compress.search.sensitivity.calibration import Calibration, Distillation, check_calibration
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)
_NEGLIGIBLE_NOISE = 1e-3  # fraction of the allowed drop; more is logged
_RESERVED = 3  # evaluations at most that a family leaves to each one after it
_FINAL_MIN_IMPROVEMENT = 0.1  # fraction of the tolerance, when no other family waits for evaluations
_FRONTIER_POINTS = 8  # for which a given size reserves bytes
_PLAIN_RATIO = 4  # plain storage is tried in sizes from a fourth of the raw bytes on
Families = Callable[[Weights], Sequence[Family]]


def smallest(
    module: nn.Module,
    evaluate: Evaluate,
    max_drop: float = 0.3,
    *,
    max_bytes: int | None = None,
    min_score: float | None = None,
    assured: float = ASSURED,
    confirm: Evaluate | bool = True,
    calibration: Calibration | None = None,
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
    where statistics of the evaluation guided the grids, ``recovered`` where recovery tuned the file, and the
    ``frontier`` of ``[strength, bytes, score]`` that :func:`retarget` makes other sizes from; and of the drop on other
    text ``expected_drop``, its 95 % ``expected_interval``, the probability ``assured`` that it is allowed, the number
    of ``items`` and, where the file was tested, ``confirmed``. How long the search took is in the log.

    Args:
        module: a module with the exact weights loaded.
        evaluate: module → a number or :class:`Score`, higher is better. It is called in ``eval()`` mode, without
            gradients, each time from the same random state.
        max_drop: the largest loss of score allowed, in its own unit.
        max_bytes: a size in bytes instead: the best score in a file of at most this size, whatever the drop.
        min_score: the lowest score that the file may have, in addition to ``max_drop``; exact weights below it are an
            error.
        assured: the posterior probability, 0.5 to below 1, that the file's true drop is at most ``max_drop``; a larger
            one costs bytes.
        confirm: module → :class:`Score` of items that ``evaluate`` does not score: the file is tested on them, once or
            at most three times. True sets a third of the items of ``evaluate`` apart where it has statistics of 2,000
            or more; False does not.
        calibration: batches and their loss: steps follow the sensitivity of the loss, and error feedback is used. Where
            it has the module's ``outputs`` too (:class:`Distillation`), recovery tunes steps and one-dimensional
            parameters, unless the effort is ``"quick"``.
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
        SearchError: a wrong argument, before anything is evaluated; an evaluation that raises, gives NaN or is not
            repeatable; exact weights below ``min_score``; calibration batches that fail; a ``max_bytes`` that no file
            reaches. The module is restored.
        WeightsError: the module's weights cannot be read.
    """
    check_arguments(module, evaluate)
    check_search(max_drop, min_score, families, weights, exclude, classes)
    check_flag("progress", progress)
    promise = Promise(check_assured(assured), check_confirm(confirm, evaluate))
    max_bytes = None if max_bytes is None else check_max_bytes(max_bytes)
    limits, began = effort_of(effort), perf_counter()
    source = weights if weights is not None else Weights.from_module(module, exclude=exclude, classes=classes)
    with evaluating(module, evaluate, source) as evaluator, progress_bar(progress, limits.evaluations) as advance:
        if calibration is not None:
            with evaluator.exact_weights():
                check_calibration(calibration, module)
        observer = Observer(evaluator.weights, module) if calibration is None and families is None else None
        made = families or partial(_default_families, evaluator, calibration, observer, limits)
        return _Search(
            evaluator, observer, calibration, max_drop, max_bytes, min_score, promise, limits, advance, began
        ).run(made)


def _default_families(
    evaluator: Evaluator,
    calibration: Calibration | None,
    observer: Observer | None,
    effort: Effort,
    weights: Weights,
) -> Sequence[Family]:
    if calibration is None:
        return input_guided_families(weights, {} if observer is None else observer.observations)
    return calibrated_families(weights, evaluator.module, calibration, effort.recovery, loaded=evaluator.exact_weights)


@dataclass(eq=False)
class _Search:
    """The steps of :func:`smallest`, with its arguments."""

    evaluator: Evaluator
    observer: Observer | None
    calibration: Calibration | None
    max_drop: float
    max_bytes: int | None
    min_score: float | None
    promise: Promise
    effort: Effort
    advance: Advance
    began: float

    def run(self, families: Families) -> Archive:
        """Evaluate the exact weights, search the families, and write the metrics into the best file."""
        before, noise = self._baseline()
        made = families(self.evaluator.weights)
        if not made:
            raise SearchError("families gave none: return a list of at least one family")
        if self.max_bytes is not None:
            trials = self._best_score(made, before, self.max_bytes)
            return self._finished(trials, noise, {})
        parts = Parts.of(before, self.promise.confirm if self.max_bytes is None else False)
        trials, extra = self._fewest_bytes(made, parts, noise)
        return self._finished(trials, noise, extra)

    def _finished(self, trials: Trials, noise: float, extra: Mapping[str, Any]) -> Archive:
        assert trials.incumbent is not None
        trial, archive = trials.incumbent
        return with_search_metrics(archive, self._metrics(trials, trial, noise, extra), self.max_bytes)

    def _baseline(self) -> tuple[Score, float]:
        """The score of the exact weights, and its noise."""
        before, noise = self.evaluator.baseline(None if self.observer is None else self.observer.recording)
        self.advance(self.evaluator.count, f"score {before.value:.4g}")
        if noise and noise >= self.max_drop:
            raise SearchError(
                f"evaluate is not repeatable: it gave {before.value} for the exact weights, and then something "
                f"{noise:.4g} away, no less than max_drop={self.max_drop}. Evaluate on the same data in the same "
                "order, and without sampling; or allow a larger drop."
            )
        if noise > _NEGLIGIBLE_NOISE * self.max_drop:
            _log.warning(
                "evaluate is not repeatable: %.4g apart for the same weights; the allowed drop is reduced by this",
                noise,
            )
        _log.info(
            "the search takes at most %d evaluations, about %.0f minutes; making the files comes on top",
            self.effort.evaluations,
            self.effort.evaluations * self._seconds_of_an_evaluation() / 60,
        )
        if self.min_score is not None and before.value < self.min_score:
            raise SearchError(
                f"the exact weights score {before.value}, which is below min_score={self.min_score} already: train "
                "further, or ask for less"
            )
        return before, noise

    def _seconds_of_an_evaluation(self) -> float:
        return (perf_counter() - self.began) / max(self.evaluator.count, 1)

    def _fewest_bytes(self, families: Sequence[Family], parts: Parts, noise: float) -> tuple[Trials, dict[str, Any]]:
        before = parts.searched(parts.before)
        allowed = self.max_drop if self.min_score is None else min(self.max_drop, before.value - self.min_score)
        objective = FewestBytes(max(allowed - noise, 0.0), self.promise.assured_with(before))
        evaluator, divergence = self.evaluator, self._divergence()
        trials = Trials(evaluator, before, objective, self.effort.evaluations, self.advance, divergence, parts.searched)
        try:
            self._optimize(trials, families, objective)
        except ItemOrderError as error:
            _log.error("%s. The weights are stored exactly.", error)
            trials.all.clear()
            self._store_exactly(trials)
            return trials, {}
        if trials.incumbent is None:
            self._store_plainly(trials)
            return trials, {}
        confirmed = parts.confirm(trials, objective)
        if confirmed is None:
            return trials, expected_metrics(trials, objective)
        if not confirmed["passed"]:
            self._store_plainly(trials)
        return trials, {**expected_metrics(trials, objective), "confirmed": confirmed}

    def _divergence(self) -> Callable[[Mapping[str, Tensor]], float | None]:
        """How the divergence of a file from the exact weights is measured."""
        if isinstance(self.calibration, Distillation):
            return OutputDivergence(self.evaluator, self.calibration)
        return InputError(self.evaluator.weights, {} if self.observer is None else self.observer.observations)

    def _optimize(self, trials: Trials, families: Sequence[Family], objective: FewestBytes) -> None:
        for later, family in zip(reversed(range(len(families))), families, strict=True):
            # The unguided family is hardly ever better than the guided one, so no evaluations are reserved for it.
            reserved = (
                0 if self.observer is not None else min(later * _RESERVED, trials.remaining * later // (later + 1))
            )
            minimize_bytes(
                trials, family, self.effort, objective.max_drop, assured=objective.assured, reserved=reserved
            )
        # No family waits any more, so the remaining evaluations may go to smaller expected improvements.
        last = trials.incumbent_family or families[0]
        minimize_bytes(
            trials,
            last,
            self.effort,
            objective.max_drop,
            assured=objective.assured,
            min_improvement=_FINAL_MIN_IMPROVEMENT,
        )

    def _store_plainly(self, trials: Trials) -> None:
        """Half precision if it is feasible; else losslessly, which needs no evaluation."""
        if trials.remaining:
            trials.evaluate(compress(self.evaluator.weights, PLAIN["half"]))
        if trials.incumbent is None:
            self._store_exactly(trials)
        _log.warning(
            "no quantized file loses at most %s of the score %s: the weights are stored %s",
            self.max_drop,
            trials.before.value,
            {"half": "in half precision", "lossless": "exactly"}[plain_name(trials) or "lossless"],
        )

    def _store_exactly(self, trials: Trials) -> None:
        """Losslessly: the score is that of the exact weights, so nothing is evaluated."""
        trials.keep_exact(compress(self.evaluator.weights, PLAIN["lossless"]))

    def _best_score(self, families: Sequence[Family], before: Score, max_bytes: int) -> Trials:
        reserve = reserved_bytes(before.value, _FRONTIER_POINTS)
        objective = BestScore(max_bytes - reserve)
        trials = Trials(self.evaluator, before, objective, self.effort.evaluations, self.advance)
        raw = sum(weight.tensor.numel() * weight.tensor.element_size() for weight in self.evaluator.weights)
        if max_bytes * _PLAIN_RATIO >= raw:
            for plan in (PLAIN["lossless"], PLAIN["half"]):
                archive = compress(self.evaluator.weights, plan)
                if archive.nbytes <= objective.max_bytes:
                    trials.evaluate(archive)
                    break
        reached: list[int] = []
        for family in families if trials.incumbent is None else ():
            strength, archive = fit_bytes(family, objective.max_bytes)
            reached.append(archive.nbytes)
            if archive.nbytes <= objective.max_bytes and trials.remaining:
                trials.evaluate(archive, family, strength)
        if trials.incumbent is None:
            raise unreachable(max_bytes, min(reached) + reserve)
        maximize_score(trials, self.effort, objective)
        return trials

    def _metrics(self, trials: Trials, trial: Trial, noise: float, extra: Mapping[str, Any]) -> dict[str, Any]:
        # The time goes to the log alone: the same search gives the same file.
        _log.info("the search took %d evaluations in %.1f s", self.evaluator.count, perf_counter() - self.began)
        metrics = search_metrics(trials.before, trial.score, trial.drop, noise, self.evaluator.count) | dict(extra)
        if name := plain_name(trials):
            metrics["fallback"] = name
        if isinstance(trial.family, PlanFamily) and trial.family.recover is not None:
            metrics["recovered"] = True
        if self.observer is not None and isinstance(trial.family, PlanFamily) and trial.family.guidance:
            metrics["observed"] = True
        points = ((t.strength, t.nbytes, t.score.value) for t in trials.all if t.family is not None)
        return metrics | {"frontier": Frontier.of(points).to_json()}
