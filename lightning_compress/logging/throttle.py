"""Work that is done as often as a share of the time allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter


class Sparing:
    """Says when some work may be done again, so that it takes no more than a share of the time.

    Args:
        share: of the time, above 0.
        clock: seconds since whenever.
    """

    def __init__(self, share: float, clock: Callable[[], float] = perf_counter) -> None:
        self._share, self._clock = share, clock
        self._next = 0.0
        self._is_new = True

    @property
    def is_due(self) -> bool:
        """Whether the work may be done now; the first time always."""
        return self._is_new or self._clock() >= self._next

    @contextmanager
    def working(self) -> Iterator[None]:
        """The work is done in the block; how long it takes decides when it is due again."""
        began = self._clock()
        try:
            yield
        finally:
            self._is_new = False
            self._next = began + (self._clock() - began) / self._share
