"""What a search will cost, said once it is known how long an evaluation takes."""

from __future__ import annotations

from time import perf_counter

from lightning_compress.callbacks.hooks.console import announce
from lightning_compress.messages.durations import in_minutes


class SearchCost:
    """Measures the first evaluation, or the first validation where that gives the score, and says what a search costs.

    Args:
        evaluations: the evaluation budget of a search.
    """

    def __init__(self, evaluations: int) -> None:
        self._evaluations = evaluations
        self._is_known = False
        self._began: float | None = None  # by ``perf_counter``

    def begin(self) -> None:
        """An evaluation begins."""
        self._began = perf_counter()

    def end(self) -> None:
        """It has ended; without effect where none began."""
        if self._began is not None and not self._is_known:
            self._is_known = True
            seconds = perf_counter() - self._began
            announce(
                f"CompressCheckpoint('auto'): an evaluation took {seconds:.1f} s, so a search of up to "
                f"{self._evaluations} takes at most {in_minutes(self._evaluations * seconds)}; making the files "
                "comes on top"
            )
        self._began = None
