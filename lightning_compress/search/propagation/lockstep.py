"""Functions that run together, in threads, one at a time: each waits at certain points until the others come there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from torch.utils._python_dispatch import TorchDispatchMode

Value = TypeVar("Value")
Wait = Callable[[int, Value], None]  # what each function calls: order of the point, and what it has for it


class _AbandonedError(BaseException):
    """Ends a function that waits when the others cannot go on; code that handles exceptions lets it pass."""


class _Run(Generic[Value]):
    """One function in its thread.

    Attributes:
        waits: order of the point at which it waits, and its value; None while it runs and after its end.
        error: that ended it.
    """

    def __init__(self, function: Callable[[Wait[Value]], None]) -> None:
        self.waits: tuple[int, Value] | None = None
        self.error: Exception | None = None
        self._function = function
        self._is_abandoned = False
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="lightning-compress-lockstep", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let it run until it waits or ends."""
        self.waits = None
        self._go.release()
        self._stopped.acquire()

    def abandon(self) -> None:
        """End it where it waits."""
        self._is_abandoned = True
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._go.acquire()
            if not self._is_abandoned:
                self._function(self._wait)
        except _AbandonedError:
            pass
        except Exception as error:  # of any type: it is raised in the thread that waits for this one
            self.error = error
        finally:
            self._stopped.release()

    def _wait(self, order: int, value: Value) -> None:
        self.waits = order, value
        self._stopped.release()
        self._go.acquire()
        if self._is_abandoned:
            raise _AbandonedError


def run_in_lockstep(
    functions: Sequence[Callable[[Wait[Value]], None]], arrived: Callable[[int, Mapping[int, Value]], None]
) -> None:
    """Run functions that wait for each other.

    Only one of all threads runs at any time. Once every function waits or has ended, ``arrived`` is called for the
    point of the lowest order, and those that wait there go on.

    Functions may use dispatch modes of torch. It keeps in a global variable whether one is on, and a mode that ends
    sets it to what it was when the mode began. Modes of these functions end in another order than that, so one more
    begins before all of them and ends after all of them, in a thread of its own.

    Args:
        functions: each is called with ``wait``; ``wait(order, value)`` returns when it may go on.
        arrived: order of a point, and number of each function that waits there → its value. Called in this thread.

    Raises:
        Exception: what a function or ``arrived`` raised; the other functions are ended.
    """
    around = _Run(_mode_around)
    around.resume()
    runs = [_Run(function) for function in functions]
    try:
        _resume(runs)
        while any(run.waits for run in runs):
            order = min(run.waits[0] for run in runs if run.waits)
            here = {number: run for number, run in enumerate(runs) if run.waits and run.waits[0] == order}
            arrived(order, {number: run.waits[1] for number, run in here.items() if run.waits})
            _resume(list(here.values()))
    finally:
        for run in runs:
            run.abandon()
        around.resume()


def _mode_around(wait: Wait[None]) -> None:
    with TorchDispatchMode():  # type: ignore[no-untyped-call]
        wait(0, None)


def _resume(runs: Sequence[_Run[Value]]) -> None:
    for run in runs:
        run.resume()
        if run.error is not None:
            raise run.error
