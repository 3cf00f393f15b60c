"""``smallest``: the smallest file at an allowed loss, or the best score in a budget of bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.errors import SearchError
from lightning_compress.pipeline.compression import compress
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Half, Raw
from lightning_compress.runtime.progress import Advance, progress_bar
from lightning_compress.search.effort import Effort, effort_of
from lightning_compress.search.evaluate.evaluation import Evaluate, Evaluator, check_arguments, evaluating
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.calibrated import calibrated_families
from lightning_compress.search.families.family import Family, PlanFamily
from lightning_compress.search.families.input_guided import Observer, observed_families
from lightning_compress.search.families.target_size import fit_budget, unreachable
from lightning_compress.search.optimize.loop import descend, turn
from lightning_compress.search.optimize.session import BestScore, FewestBytes, Session, Trial
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.record import facts_of, record_bytes, with_record
from lightning_compress.search.sensitivity.calibration import Calibration, check_calibration
from lightning_compress.weights import Weights

_log = logging.getLogger(__name__)
_NEGLIGIBLE = 1e-3  # of the allowed drop: noise that is not worth a word
_FOR_LATER = 3  # evaluations at most that a family leaves to each one after it
_LAST_WORTH = 0.1  # of the tolerance: what the last evaluations must promise
_POINTS = 8  # of the frontier, that a budget leaves room for
_WORTH_TRYING = 4  # a budget of a fourth of the raw bytes or more may hold the weights exactly, or in half precision
_PLAIN = {
    "half": Plan(Rule("*", Half(rounding="nearest"), optional=True)),
    "lossless": Plan(Rule("*", Raw(), optional=True)),
}

Families = Callable[[Weights], Sequence[Family]]


def smallest(
    module: nn.Module,
    evaluate: Evaluate,
    max_drop: float = 0.3,
    *,
    max_bytes: int | None = None,
    min_score: float | None = None,
    calibration: Calibration | None = None,
    effort: str = "default",
    progress: bool = True,
    families: Families | None = None,
    weights: Weights | None = None,
    exclude: Sequence[str] = (),
    classes: Mapping[str, str | Sequence[str]] | None = None,
) -> Archive:
    """Search the smallest file whose score is at most ``max_drop`` below that of the exact weights.

    Candidates are loaded in place into ``module``, which is afterwards bit for bit what it was: weights, buffers,
    modes, gradients and random states. No second model is made. What holds is found in any case: where no quantized
    file does, half precision or the exact weights are returned, and both the log and the file say so.

    The file's metrics hold under ``search``: ``score_before``, ``score_after``, ``drop``, its 95 % ``interval`` where
    the score has statistics, ``noise`` between two evaluations of the same weights, ``evaluations``, ``seconds``,
    ``observed`` where the inputs of the evaluation guided the grids, ``recovered`` where steps and vectors were tuned,
    and the ``frontier`` of ``[strength, bytes, score]`` that :func:`retarget` makes other sizes from.

    Args:
        module: a module with the exact weights loaded.
        evaluate: module → a number or :class:`Score`, higher is better. It is called in ``eval()`` mode, without
            gradients, each time from the same random state.
        max_drop: the largest loss of score allowed, in its own unit.
        max_bytes: a size in bytes instead: the best score in a file of no more than that is searched, whatever it
            loses.
        min_score: a score that the file must keep besides; exact weights below it are an error.
        calibration: batches and their loss: steps follow what the loss feels, and rounding errors are fed back. Where
            it tells the module's ``outputs`` too (:class:`Distillation`), steps and vectors are then tuned by them,
            unless the effort is ``"quick"``.
        effort: ``"quick"`` (at most 8 evaluations), ``"default"`` (20) or ``"thorough"`` (60).
        progress: whether to show a bar, where the error stream is a terminal.
        families: weights → the families to search in, the most promising first; by default
            :func:`observed_families`, or with calibration data :func:`calibrated_families`.
        weights: the exact weights where they are not those of the module, as with averaged ones.
        exclude: patterns of tensors to leave out; not with ``weights``.
        classes: class name → patterns, over the derived classes; not with ``weights``.

    Returns:
        The archive, to be saved.

    Raises:
        SearchError: an evaluation that raises, gives NaN or is not repeatable; exact weights below ``min_score``;
            calibration batches that fail; a ``max_bytes`` that no file reaches; a wrong argument. The module is as it
            was.
        WeightsError: the module's weights cannot be taken.
    """
    check_arguments(module, evaluate, [("max_drop", max_drop), ("max_bytes", max_bytes)])
    limits, began = effort_of(effort), perf_counter()
    source = weights if weights is not None else Weights.from_module(module, exclude=exclude, classes=classes)
    with evaluating(module, evaluate, source) as evaluator, progress_bar(progress, limits.evaluations) as tell:
        if calibration is not None:
            with evaluator.exact_weights():
                check_calibration(calibration, module)
        observer = Observer(evaluator.weights, module) if calibration is None and families is None else None
        made = families or partial(_families, evaluator, calibration, observer, limits)
        return _Search(evaluator, observer, max_drop, max_bytes, min_score, limits, tell, began).run(made)


def _families(
    evaluator: Evaluator,
    calibration: Calibration | None,
    observer: Observer | None,
    effort: Effort,
    weights: Weights,
) -> Sequence[Family]:
    if calibration is None:
        return observed_families(weights, {} if observer is None else observer.observations)
    return calibrated_families(weights, evaluator.module, calibration, effort.recovery, loaded=evaluator.exact_weights)


@dataclass(eq=False)
class _Search:
    """The steps of :func:`smallest`, with its arguments."""

    evaluator: Evaluator
    observer: Observer | None
    max_drop: float
    max_bytes: int | None
    min_score: float | None
    effort: Effort
    tell: Advance
    began: float

    def run(self, families: Families) -> Archive:
        """Baseline, families, plain storage where nothing else holds; then the record."""
        before, noise = self._baseline()
        made = families(self.evaluator.weights)
        if self.max_bytes is None:
            session = self._fewest_bytes(made, before, noise)
        else:
            session = self._best_score(made, before, self.max_bytes)
        assert session.best is not None
        trial, archive = session.best
        return with_record(archive, self._record(session, trial, noise), self.max_bytes)

    def _baseline(self) -> tuple[Score, float]:
        before, noise = self.evaluator.baseline(None if self.observer is None else self.observer.watching)
        self.tell(self.evaluator.count, f"score {before.value:.4g}")
        if noise and noise >= self.max_drop:
            raise SearchError(
                f"evaluate is not repeatable: it gave {before.value} for the exact weights, and then something "
                f"{noise:.4g} away, no less than max_drop={self.max_drop}. Evaluate on the same data in the same "
                "order, and without sampling; or allow a larger drop."
            )
        if noise > _NEGLIGIBLE * self.max_drop:
            _log.warning("evaluate is not repeatable: %.4g apart for the same weights; so much less is allowed", noise)
        if self.min_score is not None and before.value < self.min_score:
            raise SearchError(
                f"the exact weights score {before.value}, which is below min_score={self.min_score} already: train "
                "further, or ask for less"
            )
        return before, noise

    def _fewest_bytes(self, families: Sequence[Family], before: Score, noise: float) -> Session:
        wished = self.max_drop if self.min_score is None else min(self.max_drop, before.value - self.min_score)
        goal = FewestBytes(max(wished - noise, 0.0))
        session = Session(self.evaluator, before, goal, self.effort.evaluations, self.tell)
        for later, family in zip(reversed(range(len(families))), families, strict=True):
            # Behind a guided family the plain one is no hope but a check, and has what is left.
            spare = 0 if self.observer is not None else min(later * _FOR_LATER, session.left * later // (later + 1))
            descend(session, family, self.effort, goal.allowed, spare=spare)
        # What is left over may take the best, or the most promising, further; less is worth it, for nothing else waits.
        descend(session, session.best_family or families[0], self.effort, goal.allowed, worth=_LAST_WORTH)
        if session.best is None:
            self._fall_back(session)
        return session

    def _fall_back(self, session: Session) -> None:
        """Half precision if it holds; else the exact weights, which need no evaluation."""
        if session.left:
            session.measure(compress(self.evaluator.weights, _PLAIN["half"]))
        if session.best is None:
            session.measure(compress(self.evaluator.weights, _PLAIN["lossless"]))
        _log.warning(
            "no quantized file loses at most %s of the score %s: the weights are kept %s",
            self.max_drop,
            session.before.value,
            {"half": "in half precision", "lossless": "exactly"}[_plain_name(session) or "lossless"],
        )

    def _best_score(self, families: Sequence[Family], before: Score, max_bytes: int) -> Session:
        reserve = record_bytes(before.value, _POINTS)
        goal = BestScore(max_bytes - reserve)
        session = Session(self.evaluator, before, goal, self.effort.evaluations, self.tell)
        raw = sum(weight.tensor.numel() * weight.tensor.element_size() for weight in self.evaluator.weights)
        if max_bytes * _WORTH_TRYING >= raw:
            for plan in (_PLAIN["lossless"], _PLAIN["half"]):
                archive = compress(self.evaluator.weights, plan)
                if archive.nbytes <= goal.budget:
                    session.measure(archive)
                    break
        reached: list[int] = []
        for family in families if session.best is None else ():
            strength, archive = fit_budget(family, goal.budget)
            reached.append(archive.nbytes)
            if archive.nbytes <= goal.budget and session.left:
                session.measure(archive, family, strength)
        if session.best is None:
            raise unreachable(max_bytes, min(reached) + reserve)
        turn(session, self.effort, goal)
        return session

    def _record(self, session: Session, trial: Trial, noise: float) -> dict[str, Any]:
        seconds = perf_counter() - self.began
        facts = facts_of(session.before, trial.score, trial.drop, noise, self.evaluator.count, seconds)
        if name := _plain_name(session):
            facts["fallback"] = name
        if isinstance(trial.family, PlanFamily) and trial.family.recover is not None:
            facts["recovered"] = True
        if self.observer is not None and isinstance(trial.family, PlanFamily) and trial.family.guidance:
            facts["observed"] = True
        points = ((t.strength, t.nbytes, t.score.value) for t in session.trials if t.family is not None)
        return facts | {"frontier": Frontier.of(points).to_json()}


def _plain_name(session: Session) -> str | None:
    """Which of the plain plans the best archive was made by, if any."""
    if session.best is None or session.best[0].family is not None:
        return None
    plan = session.best[1].manifest.plan
    return next(name for name, plain in _PLAIN.items() if plain.to_config() == plan)
