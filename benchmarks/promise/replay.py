"""Searches among measured files on a random half of the items, judged on the other half."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.promise.measured import Case
from lightning_compress.search import Family, Score, paired_drop
from lightning_compress.search.effort import effort_of
from lightning_compress.search.evaluate.half_samples import HalfSamples
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.optimize.acquisition import next_candidate
from lightning_compress.search.optimize.bayesian_optimization import MIN_IMPROVEMENT
from lightning_compress.search.optimize.posterior import Posterior
from lightning_compress.search.optimize.search_space import Candidate
from lightning_compress.search.trials.trial import Trial

SPLITS = 60
EFFORT = effort_of("default")
TRIALS = EFFORT.evaluations - 2  # beside the two of the exact weights
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """One replayed search; every number is None where it found no file.

    Attributes:
        drop: of the file on the items that the search did not read.
        error: standard deviation of that reading.
        whole: drop of the file on all items.
        ratio: of the file.
        evaluations: of the search, with the two of the exact weights.
    """

    drop: float | None
    error: float | None
    whole: float | None
    ratio: float | None
    evaluations: int


@dataclass(frozen=True, eq=False)
class _Family:
    """Stands for the family of a case: equal for all of its files, with their coordinates."""

    shares: dict[str, float]

    def shares_trials_with(self, other: object) -> bool:
        return self is other

    def with_offsets(self, _: object) -> _Family:
        return self


def replays(case: Case, assured: float | None, items: int | None = None) -> list[Outcome]:
    """Searches on random parts of the items, each judged on the rest.

    Args:
        case: its measured files.
        assured: probability that a file must have; None for the smallest file whose measured drop is allowed.
        items: that a search reads; half of them where it is None.
    """
    total = len(case.exact)
    return [_replay(case, part, assured) for part in _parts(total, items or total // 2)]


def row(case: Case, name: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table in Markdown: what the searches of one rule came to."""
    found = [(one.drop, one.error, one.whole, one.ratio) for one in outcomes if one.drop is not None]
    drops, errors, wholes, ratios = ([float(values[k] or 0.0) for values in found] for k in range(4))
    holds = sum(drop <= case.max_drop for drop in drops) + len(outcomes) - len(found)
    within = sum(d <= case.max_drop + e for d, e in zip(drops, errors, strict=True)) + len(outcomes) - len(found)
    mean = f"{fmean(drops):+.2f} | {fmean(wholes):+.2f} | {fmean(ratios):.1f}×" if found else "– | – | –"
    evaluations = fmean(one.evaluations for one in outcomes)
    share = [f"{100 * count / len(outcomes):.0f} %" for count in (holds, within)]
    return f"| {case.name} | {name} | {share[0]} | {share[1]} | {mean} | {evaluations:.1f} | {len(case.files)} |"


def _replay(case: Case, part: Indices, assured: float | None) -> Outcome:
    rest = np.setdiff1d(np.arange(len(case.exact)), part)
    family = _Family({str(k): share for k, share in enumerate(case.shares)})
    before = _score(case, case.exact, part)
    halves = HalfSamples(before)
    trials: list[Trial] = []
    order: list[int] = []
    for index in _search(case, trials, order, assured):
        after, measured = _score(case, case.files[index].statistics, part), case.files[index]
        paired = paired_drop(before, after, resamples=200)
        divergence = float(measured.divergence.mean())
        family_of: Any = family
        noise = halves.differences(after)
        usual = halves.usual_drop(noise)
        trials.append(Trial(family_of, float(index), measured.nbytes, after, paired, noise, usual, divergence))
        order.append(index)
    chosen = _chosen(case, _posterior(case, trials, order, assured), order, assured)
    if chosen is None:
        return Outcome(None, None, None, None, len(trials) + 2)
    file, everything = case.files[chosen], np.arange(len(case.exact))
    judged = paired_drop(_score(case, case.exact, rest), _score(case, file.statistics, rest), resamples=200)
    whole = _score(case, case.exact, everything).value - _score(case, file.statistics, everything).value
    return Outcome(judged.value, judged.deviation, whole, file.ratio, len(trials) + 2)


def _search(case: Case, trials: list[Trial], order: list[int], assured: float | None) -> Iterator[int]:
    """Files in the order in which the search evaluates them; it reads ``trials`` after each."""
    yield min(range(len(case.files)), key=lambda k: abs(case.files[k].ratio - 32 / 3))
    while len(order) < min(TRIALS, len(case.files)):
        posterior = _posterior(case, trials, order, assured)
        surrogate, chosen = posterior.surrogate_of(_family(trials)), _chosen(case, posterior, order, assured)
        assert surrogate is not None
        largest = max(np.log(file.nbytes) for file in case.files) + 0.5
        limit = largest if chosen is None else float(np.log(case.files[chosen].nbytes))
        left = [k for k in range(len(case.files)) if k not in order and np.log(case.files[k].nbytes) < limit]
        candidates = [Candidate(k, {}, case.files[k].coordinates, float(np.log(case.files[k].nbytes))) for k in left]
        least = MIN_IMPROVEMENT * EFFORT.tolerance
        found = next_candidate(surrogate, candidates, limit, tolerance=EFFORT.tolerance / 10, min_improvement=least)
        if found is None:
            return
        yield int(found.strength)


def _posterior(case: Case, trials: list[Trial], order: list[int], assured: float | None) -> Posterior:
    coordinates = torch.tensor([case.files[k].coordinates for k in order], dtype=torch.float64)
    return Posterior(trials, case.max_drop, assured or 0.5, coordinates=coordinates)


def _family(trials: list[Trial]) -> Family:
    family = trials[0].family
    assert family is not None
    return family


def _chosen(case: Case, posterior: Posterior, order: list[int], assured: float | None) -> int | None:
    """Index of the file that is returned."""
    pairs = list(zip(order, posterior.trials, strict=True))
    if assured is None:
        allowed = [k for k, trial in pairs if trial.drop.value <= case.max_drop]
    else:
        objective = FewestBytes(case.max_drop, assured)
        true = posterior.true_drops
        allowed = [k for n, (k, trial) in enumerate(pairs) if objective.allows(trial, true[n])]
    return min(allowed, key=lambda k: case.files[k].nbytes, default=None)


def _score(case: Case, statistics: Any, chosen: Indices) -> Score:
    return Score.of(statistics[chosen], case.combine)


def _parts(total: int, items: int) -> Iterator[Indices]:
    draws = np.random.default_rng(0)
    for _ in range(SPLITS):
        yield np.sort(draws.permutation(total)[:items])


def table(found: Iterable[Case], levels: Sequence[float], items: Sequence[int | None] = (None,)) -> Iterator[str]:
    """The table in Markdown, line by line.

    Args:
        found: cases.
        levels: of ``assured``.
        items: that searches read; None for half of them.
    """
    yield "| case | choice | holds | within its error | mean drop there | of all items | ratio | evaluations | files |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for case in found:
        for count in items:
            named = case if count is None else replace(case, name=f"{case.name}, {count} items")
            yield row(named, "smallest measured that holds", replays(case, None, count))
            for level in levels:
                yield row(named, f"`assured={level:g}`", replays(case, level, count))
