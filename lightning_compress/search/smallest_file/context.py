"""What every part of a search needs: the evaluator, its limits, and where statistics come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

from lightning_compress.messages.progress import Advance
from lightning_compress.search.effort import Effort
from lightning_compress.search.evaluate.evaluation import Evaluator
from lightning_compress.search.families.input_guided import Observer
from lightning_compress.search.observe.input_statistics import InputStatistics
from lightning_compress.search.sensitivity.calibration import CalibrationData


@dataclass(frozen=True, eq=False)
class SearchContext:
    """What every part of a search needs.

    Attributes:
        evaluator: scores weights in the module.
        observer: records statistics of the inputs during the first evaluation; None where nothing is recorded.
        calibration: batches and their loss; None without them.
        effort: the limits of the search.
        advance: moves the progress bar.
        began: when the search began, by ``perf_counter``.
    """

    evaluator: Evaluator
    observer: Observer | None
    calibration: CalibrationData | None
    effort: Effort
    advance: Advance
    began: float = field(default_factory=lambda: perf_counter())

    @property
    def observations(self) -> Mapping[str, InputStatistics]:
        """Statistics of the inputs that were recorded; empty before the first evaluation, and without an observer."""
        return {} if self.observer is None else self.observer.observations

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return perf_counter() - self.began
