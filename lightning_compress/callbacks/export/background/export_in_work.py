"""The one export that is in work: begun, begun again after its worker has ended, concluded or given up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

from lightning_compress.callbacks.export.background.dispatch import (
    Dispatcher,
    LostWorkerError,
    NoWorkerError,
    PendingExport,
    Result,
)
from lightning_compress.callbacks.export.background.messages import Committed, Failed, Refused
from lightning_compress.callbacks.export.background.notices import relay, tell_inline
from lightning_compress.callbacks.export.exporter import Exporter, failed
from lightning_compress.callbacks.export.jobs import Outcome
from lightning_compress.errors import CallbackError
from lightning_compress.files import local_path, remove_left_overs_of

_MAX_LOSSES = 2  # workers that may end during one export
_log = logging.getLogger(__name__)


class ExportInWork:
    """One export at a time, carried out by the worker process, or in this process where no worker can.

    Args:
        exporter: follows up the exports, and carries out those that no worker can.
        dispatcher: gives exports to the worker.
        conclude: called with an export that has ended and its outcome, None if it was cancelled.

    Attributes:
        pending: the export; None while there is none.
        has_worker: False once it is known that no worker can carry out the exports.
    """

    def __init__(
        self, exporter: Exporter, dispatcher: Dispatcher, conclude: Callable[[PendingExport, Outcome | None], None]
    ) -> None:
        self._exporter, self._dispatcher, self._conclude_with = exporter, dispatcher, conclude
        self.pending: PendingExport | None = None
        self.has_worker = True

    def accept(self, pending: PendingExport) -> None:
        """This export is in work from now on."""
        self.pending = pending

    def begin(self, pending: PendingExport) -> None:
        """Give the export to the worker; without one, carry it out."""
        if not self.has_worker:
            self._conclude(pending, self._exporter.run(pending.job))
            return
        try:
            self._dispatcher.begin(pending)
        except NoWorkerError as error:
            self._do_without_worker(pending, error)

    def take_result(self, seconds: float) -> bool:
        """Conclude the export if it ends within some seconds; whether something has happened."""
        assert self.pending is not None
        pending = self.pending
        try:
            result = self._dispatcher.result(pending, seconds)
        except LostWorkerError as error:
            self._begin_again(pending, error)
        except NoWorkerError as error:
            self._do_without_worker(pending, error)
        else:
            if result is None:
                return False
            self._conclude(pending, self._outcome(pending, result))
        return True

    def cancel(self) -> None:
        """The file of the export is no longer wanted."""
        assert self.pending is not None
        self._dispatcher.cancel(self.pending)

    def give_up(self, reason: str) -> None:
        """End the worker, and let the export fail that is in work."""
        if self.pending is None:
            return
        pending = self.pending
        self._dispatcher.end(kill=True)
        remove_left_overs_of(local_path(pending.target))
        self._conclude(pending, None if pending.is_cancelled else given_up(pending, reason))

    def end_worker(self, *, kill: bool) -> None:
        """End the worker, by a message or at once."""
        self._dispatcher.end(kill=kill)

    def _outcome(self, pending: PendingExport, result: Result) -> Outcome | None:
        """What became of an export that a worker has ended; None if it was cancelled."""
        if pending.is_cancelled:
            return None
        if isinstance(result, Refused):
            tell_inline(result.problem)
            return self._exporter.run(pending.job)
        if isinstance(result, Committed):
            relay(result.log)
            seconds = perf_counter() - pending.began
            return self._exporter.adopt(pending.job, result.fingerprint, result.is_new, seconds)
        assert isinstance(result, Failed)
        relay(result.log)
        result.error.__cause__ = result.cause
        return failed(pending.job, result.error)

    def _begin_again(self, pending: PendingExport, error: LostWorkerError) -> None:
        """Begin an export once more whose worker has ended; the second time it fails."""
        remove_left_overs_of(local_path(pending.target))
        pending.losses += 1
        if pending.is_cancelled:
            self._conclude(pending, None)
        elif pending.losses >= _MAX_LOSSES:
            self._conclude(pending, failed(pending.job, CallbackError(f"writing {pending.target} failed: {error}")))
        else:
            # As text: a record may be kept, and the traceback of the error refers to the weights.
            _log.warning("%s is written again by a new worker process: %s", pending.target, str(error))
            self.begin(pending)

    def _do_without_worker(self, pending: PendingExport, error: NoWorkerError) -> None:
        tell_inline(str(error))
        self.has_worker = False
        self._conclude(pending, None if pending.is_cancelled else self._exporter.run(pending.job))

    def _conclude(self, pending: PendingExport, outcome: Outcome | None) -> None:
        self.pending = None
        self._conclude_with(pending, outcome)


def given_up(pending: PendingExport, reason: str) -> Outcome:
    """The outcome of an export that does not come to an end."""
    return failed(pending.job, CallbackError(f"writing {pending.target} was given up: {reason}"))
