"""The two moves of a search: to fewer bytes, and between the parts of the model at the same bytes."""

from __future__ import annotations

from lightning_compress.search.effort import Effort
from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import fit_budget, strength_at
from lightning_compress.search.optimize.acquisition import most_promising
from lightning_compress.search.optimize.search_space import REACH, Space
from lightning_compress.search.optimize.session import BestScore, Session, Trial, size_of

_START_BITS = 3.0  # for each weight, in the first file
_GAIN = 0.03  # of the bytes, hoped for from a family after another
_TURN = 0.5  # of the strength, by which one part of the model is set apart from the others
_WORTH = 0.25  # of the tolerance: what an evaluation must promise, as long as something else may promise more


def descend(
    session: Session, family: Family, effort: Effort, allowed: float, *, spare: int = 0, worth: float = _WORTH
) -> None:
    """Measure files of a family, with whatever offsets, as long as one promises to be smaller than the best and hold.

    ``spare`` evaluations are left over, and one as long as nothing holds. Each must promise ``worth`` of the tolerance.
    """
    while session.left > max(spare, session.best is None):
        known = session.like(family)
        if not known:
            offsets, strength = family.offsets, strength_at(family, _start(session))
            if session.best is not None and family.predict_bytes(strength) >= session.best[0].nbytes:
                return
        else:
            space = Space(family, known, allowed)
            to_beat = space.largest + REACH if session.best is None else size_of(session.best[0].nbytes)
            option = most_promising(space.measured, space.options(to_beat), to_beat, effort.tolerance, worth)
            if option is None:
                return
            offsets, strength = option.offsets, option.strength
        candidate, left = family.with_offsets(offsets), session.left
        session.measure(candidate.archive(strength), candidate, strength)
        if session.left == left:  # the weights were scored before: strength changes nothing any more
            return


def turn(session: Session, effort: Effort, goal: BestScore) -> None:
    """Make each part of the model stronger, or weaker, than the others at the same bytes; keep what scores better."""
    for _ in range(effort.rounds):
        begin = session.best_family
        if begin is None or _turned(session, begin, goal) is begin:
            return


def _turned(session: Session, begin: Family, goal: BestScore) -> Family:
    """The best family after each part was tried stronger and weaker once; ``begin`` where nothing is gained."""
    assert session.best is not None
    reference, family = session.best[0], begin
    for part in begin.shares:
        for by in (_TURN, -_TURN):
            if not session.left:
                return family
            candidate = family.with_offsets({**family.offsets, part: family.offsets.get(part, 0.0) + by})
            strength, archive = fit_budget(candidate, goal.budget)
            if archive.nbytes > goal.budget:
                continue
            trial = session.measure(archive, candidate, strength)
            if session.best[0] is trial or _is_better(trial, reference):
                reference, family = trial, candidate
                break
    return family


def _is_better(trial: Trial, than: Trial) -> bool:
    """Whether a gain in score is more than noise, as far as that can be told."""
    return trial.score.value > than.score.value + paired_drop(than.score, trial.score).deviation


def _start(session: Session) -> float:
    """Bytes of the first file of a family: by what other families reached, or the usual bits."""
    if session.best is not None and session.best[0].family is not None:
        return session.best[0].nbytes * (1 - _GAIN)
    weights = sum(weight.tensor.numel() for weight in session.evaluator.weights)
    return _START_BITS * max(weights, 1) / 8
