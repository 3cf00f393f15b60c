"""The search for the best score in a file of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_compress.compression.pipeline import compress
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.family import Family
from lightning_compress.search.families.target_size import fit_bytes, unreachable
from lightning_compress.search.record.manifest_metrics import reserved_bytes
from lightning_compress.search.smallest_file.context import SearchContext
from lightning_compress.search.smallest_file.coordinate_search import maximize_score
from lightning_compress.search.smallest_file.ending_early import ending_early
from lightning_compress.search.smallest_file.plain_storage import PLAIN
from lightning_compress.search.trials.trial import Trial
from lightning_compress.search.trials.trials import Trials

_FRONTIER_POINTS = 8  # for which a given size reserves bytes
_PLAIN_RATIO = 4  # plain storage is tried in sizes from a fourth of the raw bytes on


@dataclass(frozen=True)
class BestScore:
    """The best score in a file of at most ``max_bytes``."""

    max_bytes: int

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """By measured bytes; of equal scores the smaller file."""
        feasible = (trial for trial in trials if trial.nbytes <= self.max_bytes)
        return min(feasible, key=lambda trial: (-trial.score.value, trial.nbytes), default=None)


def search_best_score(context: SearchContext, families: Sequence[Family], before: Score, max_bytes: int) -> Trials:
    """The trials, whose incumbent fits into ``max_bytes`` with its metrics.

    Raises:
        SearchError: no file is that small, or an evaluation fails.
    """
    evaluator = context.evaluator
    reserve = reserved_bytes(before.value, _FRONTIER_POINTS)
    limit = max_bytes - reserve
    trials = Trials(evaluator, before, BestScore(limit), context.effort.evaluations, context.advance)
    raw = sum(weight.tensor.numel() * weight.tensor.element_size() for weight in evaluator.weights)
    if max_bytes * _PLAIN_RATIO >= raw:
        for plan in (PLAIN["lossless"], PLAIN["half"]):
            archive = compress(evaluator.weights, plan)
            if archive.nbytes <= limit:
                trials.evaluate(archive)
                break
    reached: list[int] = []
    with ending_early(trials):
        for family in families if trials.incumbent is None else ():
            strength, archive = fit_bytes(family, limit)
            reached.append(archive.nbytes)
            if archive.nbytes <= limit and trials.remaining:
                trials.evaluate(archive, family, strength)
        if trials.incumbent is None:
            raise unreachable(max_bytes, min(reached) + reserve)
        maximize_score(trials, context.effort, limit)
    return trials
