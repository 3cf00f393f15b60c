"""The two moves of a search: along the strength of a family, and between the parts of the model."""

from __future__ import annotations

import math

from lightning_compress.search.bootstrap import paired_drop
from lightning_compress.search.budget import fit_budget, strength_at
from lightning_compress.search.effort import Effort
from lightning_compress.search.family import Family
from lightning_compress.search.prospect import WORTH, Prospect
from lightning_compress.search.session import BestScore, FewestBytes, Session, Trial, size_of

_START_BITS = 3.0  # for each weight, in the first file
_GAIN = 0.03  # of the bytes, hoped for from a family after another
_FOR_DESCENT = 2  # evaluations kept to turn a better score into fewer bytes
_TURN = 0.5  # of the strength, by which one part of the model is set apart from the others


def descend(
    session: Session, family: Family, effort: Effort, allowed: float, *, spare: int = 0, worth: float = WORTH
) -> None:
    """Measure a family where it may beat the best so far, until its smallest file that holds is known.

    ``spare`` evaluations are left over, and one as long as nothing holds. Each must promise ``worth`` of the tolerance.
    """
    start = _start(session)
    while session.left > max(spare, session.best is None):
        known = session.like(family)
        bias = session.bias(family)
        to_beat = math.inf if session.best is None or session.best[0].family is family else session.best[0].nbytes
        prospect = Prospect(
            points=[(size_of(t.nbytes), t.drop.value) for t in known],
            smallest=size_of(family.predict_bytes(family.strongest) * bias),
            largest=size_of(family.predict_bytes(family.weakest) * bias),
            allowed=allowed,
            deviation=max((t.drop.deviation for t in known), default=0.0),
            tolerance=effort.tolerance,
            to_beat=size_of(to_beat),
            worth=worth,
        )
        size = prospect.next_size(start)
        if size is None:
            return
        strength = strength_at(family, math.exp(size) / bias)
        own = session.of(family)
        if any(t.strength == strength for t in own):
            return
        archive = family.archive(strength)
        if any(t.nbytes == archive.nbytes for t in own):
            return
        session.measure(archive, family, strength)


def turn(session: Session, effort: Effort, goal: FewestBytes | BestScore) -> None:
    """Make each part of the model stronger, or weaker, than the others at the same bytes, and keep what scores better.

    What is gained in score is turned into bytes, where bytes are the goal.
    """
    for _ in range(effort.rounds):
        if session.best is None or session.best[0].family is None:
            return
        begin = session.best[0]
        after = _turned(session, begin, goal)
        if after is begin or after.family is None:
            return
        if isinstance(goal, FewestBytes):
            descend(session, after.family, effort, goal.allowed)


def _turned(session: Session, begin: Trial, goal: FewestBytes | BestScore) -> Trial:
    """The best trial after each part was tried stronger and weaker once; ``begin`` where nothing is gained."""
    reference, family = begin, begin.family
    assert family is not None
    for group in family.groups:
        for by in (_TURN, -_TURN):
            if session.left <= _FOR_DESCENT:
                return reference
            candidate = reference.family.scaled(group, by) if reference.family else family
            trial = _at_same_bytes(session, candidate, reference, goal)
            if trial is None:
                continue
            if (session.best is not None and session.best[0] is trial) or _is_better(trial, reference, goal):
                reference = trial
                break
    return reference


def _at_same_bytes(session: Session, family: Family, reference: Trial, goal: FewestBytes | BestScore) -> Trial | None:
    """A trial of another family with the bytes of ``reference``; None where it does not reach them."""
    if isinstance(goal, BestScore):
        strength, archive = fit_budget(family, goal.budget)
        return session.measure(archive, family, strength) if archive.nbytes <= goal.budget else None
    assert reference.family is not None
    strength = strength_at(family, reference.nbytes / session.bias(reference.family))
    return session.measure(family.archive(strength), family, strength)


def _is_better(trial: Trial, than: Trial, goal: FewestBytes | BestScore) -> bool:
    """Whether a gain in score is more than noise, as far as that can be told."""
    noise = paired_drop(than.score, trial.score).deviation
    least = noise or (0.1 * goal.allowed if isinstance(goal, FewestBytes) else 0.0)
    return trial.score.value > than.score.value + least


def _start(session: Session) -> float:
    """Size of the first file of a family: by what other families reached, or the usual bits."""
    if session.best is not None and session.best[0].family is not None:
        return size_of(session.best[0].nbytes * (1 - _GAIN))
    weights = sum(weight.tensor.numel() for weight in session.evaluator.weights)
    return size_of(_START_BITS * max(weights, 1) / 8)
