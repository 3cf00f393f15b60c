"""Limits how often some work is done, so that it takes at most a given share of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter


class Throttle:
    """Allows work at first, and again after a pause in proportion to how long the work took.

    Args:
        share: of the total time that the work may take, above 0.
        clock: seconds since any fixed moment.
    """

    def __init__(self, share: float, clock: Callable[[], float] = perf_counter) -> None:
        self._share, self._clock = share, clock
        self._allowed_from: float | None = None

    @property
    def allows_work(self) -> bool:
        """Whether the work may be done now."""
        return self._allowed_from is None or self._clock() >= self._allowed_from

    @contextmanager
    def timed_work(self) -> Iterator[None]:
        """Measures the work, which is done in the block; work that fails counts too."""
        began = self._clock()
        try:
            yield
        finally:
            self._allowed_from = began + (self._clock() - began) / self._share
