"""Which evaluated file is returned: the smallest one whose true drop is allowed, with enough certainty.

The smallest file whose *measured* drop is allowed is the winner of many noisy readings, and its drop is underestimated
(the winner's curse: Capen, Clapp and Campbell 1971, "Competitive bidding in high-risk situations"). A posterior that
shrinks each reading towards what the other files say is not biased by such a choice (Efron 2011, "Tweedie's formula and
selection bias").
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from lightning_compress.search.arguments import ASSURED
from lightning_compress.search.evaluate.half_samples import items_needed
from lightning_compress.search.evaluate.items import item_count
from lightning_compress.search.optimize.posterior import Posterior, TrueDrop
from lightning_compress.search.trials.trial import Trial

_TOO_NOISY = 0.5  # standard deviation of a drop over the allowed drop
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FewestBytes:
    """The smallest file whose true drop is at most ``max_drop``.

    The measured drop must be allowed as well, so that no file reads worse than what was asked for.

    Attributes:
        max_drop: the largest allowed drop.
        assured: the posterior probability that a file must have of keeping to it.
    """

    max_drop: float
    assured: float = ASSURED
    _latest: list[Posterior] = field(default_factory=list, init=False, repr=False, compare=False)

    def posterior(self, trials: Sequence[Trial]) -> Posterior:
        """What these trials say together; the same object until there is another trial."""
        if not self._latest or self._latest[0].trials != tuple(trials):
            self._latest[:] = [Posterior(trials, self.max_drop, self.assured)]
        return self._latest[0]

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The smallest feasible trial, of equally large ones the better score; None where none is feasible."""
        feasible = self.feasible(trials)
        return min(feasible, key=lambda trial: (trial.nbytes, -trial.score.value), default=None)

    def note_noise(self, trial: Trial) -> None:
        """Warn where the score is too noisy for what is allowed, and say how many items would do.

        Args:
            trial: the first of a search.
        """
        items, deviation = item_count(trial.score), trial.drop.deviation
        if items is None:
            _log.info(
                "the score has no statistics of items, so it is not known how far a drop holds on other text: return "
                "a Score, such as Score.mean_of(values) or bleu_score(…)"
            )
        elif deviation > _TOO_NOISY * self.max_drop > 0:
            _log.warning(
                "the drop is read with a standard deviation of %.2g on %d items, and %.4g is allowed: the file is "
                "chosen with a margin for this. Evaluate on about %d items for a smaller file that holds",
                deviation,
                items,
                self.max_drop,
                items_needed(deviation, items, self.max_drop),
            )

    def feasible(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that may be returned."""
        true = self.posterior(trials).true_drops
        return [trial for index, trial in enumerate(trials) if self.allows(trial, true.get(index))]

    def allows(self, trial: Trial, true: TrueDrop | None) -> bool:
        """Whether a trial may be returned, given its true drop; None for plain storage."""
        if true is None:  # stored in half precision or exactly
            return trial.drop.value <= self.max_drop
        return trial.drop.value <= self.max_drop and true.assured >= self.assured
