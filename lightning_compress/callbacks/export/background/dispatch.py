"""Hands exports to a worker process, one at a time, and decides whether its file gets the name of a companion file."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from lightning_compress.callbacks.export.background.messages import (
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Failed,
    Message,
    Refused,
    Setup,
    Started,
    Task,
    Verified,
)
from lightning_compress.callbacks.export.background.shared_weights import SharedWeights
from lightning_compress.callbacks.export.jobs import ExportJob
from lightning_compress.compression import GuidedPlan
from lightning_compress.plan import Plan

Result = Committed | Failed | Cancelled | Refused
_COMMIT_SECONDS = 60.0  # to rename a file
_SILENT_SECONDS = 600.0  # for which a worker may be silent, and longer for a large tensor,
_SLOWEST = 250_000  # bytes per second of which are expected at least


class Worker(Protocol):
    """The process that carries out exports; ``send`` and ``receive`` raise EOFError if it has ended."""

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message, and a file descriptor with it."""

    def receive(self, seconds: float) -> Message | None:
        """The next message; None if none arrives within so many seconds."""

    def end(self, *, kill: bool = False) -> str:
        """Let the process end, or kill it; returns how it ended."""


class NoWorkerError(Exception):
    """No worker can carry out exports of this plan; the text says why."""


class LostWorkerError(Exception):
    """The worker has ended during an export; the text says how."""


@dataclass(eq=False)
class PendingExport:
    """An export that waits or is in work.

    Attributes:
        job: its weights are those of ``copy``.
        copy: of the weights.
        began: when it was submitted, by ``perf_counter``.
        number: identifies its task.
        losses: how many workers have ended during it.
        is_cancelled: whether its file is no longer wanted.
    """

    job: ExportJob
    copy: SharedWeights
    began: float
    number: int
    losses: int = 0
    is_cancelled: bool = False

    @property
    def target(self) -> str:
        """Path of the companion file."""
        return self.job.target


class Dispatcher:
    """Starts a worker at the first export, and another one after it has ended.

    An interrupt (``KeyboardInterrupt``) during a message would leave a part of it unread, so it ends the worker.

    Args:
        plan: of the exports.
        start: starts a worker.
    """

    def __init__(self, plan: GuidedPlan, start: Callable[[Setup], Worker]) -> None:
        self._plan, self._start = plan, start
        self._worker: Worker | None = None
        self._has_started = False  # whether the worker has said so
        self._last_heard = 0.0  # when it was given a task or sent a message, by time.monotonic

    def begin(self, pending: PendingExport) -> None:
        """Give an export to the worker.

        Raises:
            NoWorkerError: the plan cannot be pickled, or no process can be started.
        """
        task = Task(pending.number, pending.target, pending.copy.contents_at, pending.copy.nbytes)
        for _ in range(2):  # the worker of the export before may have ended since
            with suppress(EOFError), self._ended_by_interrupt():
                worker = self._worker = self._worker or self._started()
                worker.send(task, pending.copy.memory.descriptor)
                self._last_heard = monotonic()
                return
            self.end(kill=True)
        raise NoWorkerError("the worker process ends as soon as it is started")

    def result(self, pending: PendingExport, seconds: float) -> Result | None:
        """What became of the export; None if that is not known within so many seconds.

        A verified file gets its name here, and only if the export was not cancelled. That is waited for, so a
        checkpoint that is saved afterwards never meets the file of an earlier one.

        Raises:
            LostWorkerError: the worker has ended, or was killed because it was silent for long.
            NoWorkerError: it has ended when it started, or cannot import a class of the plan.
        """
        worker = self._worker
        if worker is None:
            raise LostWorkerError("an interrupt has ended the worker process")
        try:
            with self._ended_by_interrupt():
                message = worker.receive(seconds)
                if isinstance(message, Verified) and not pending.is_cancelled:
                    worker.send(Commit(pending.number))
                    message = worker.receive(_COMMIT_SECONDS)
                    if message is None:
                        raise EOFError
        except EOFError:
            raise self._lost(f"the worker process has ended ({self.end(kill=True)})") from None
        if message is not None:
            self._last_heard = monotonic()
        elif (silent := monotonic() - self._last_heard) > _allowed_silence(pending):
            self.end(kill=True)
            raise self._lost(f"the worker process was killed, because it had not answered for {silent:.0f} seconds")
        if isinstance(message, Started):
            self._has_started = True
            if message.problem:
                self.end()
                raise NoWorkerError(message.problem)
        return message if isinstance(message, (Committed, Failed, Cancelled, Refused)) else None

    def cancel(self, pending: PendingExport) -> None:
        """Let the worker stop; its result still comes, and is no new file."""
        pending.is_cancelled = True
        if self._worker is not None:
            with suppress(EOFError), self._ended_by_interrupt():
                self._worker.send(Cancel(pending.number))

    def end(self, *, kill: bool = False) -> str:
        """Let the worker end, or kill it; returns how it ended."""
        worker, self._worker = self._worker, None
        return worker.end(kill=kill) if worker else "not started"

    def _lost(self, how: str) -> LostWorkerError | NoWorkerError:
        return LostWorkerError(how) if self._has_started else NoWorkerError(how)

    def _started(self) -> Worker:
        self._has_started = False
        _refuse_classes_of_script(self._plan.plan)
        path = tuple(str(Path(entry).absolute()) for entry in sys.path)
        try:
            return self._start(Setup(path, str(Path.cwd()), pickle.dumps(self._plan)))
        except Exception as error:
            raise NoWorkerError(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _ended_by_interrupt(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self.end(kill=True)
            raise


def _allowed_silence(pending: PendingExport) -> float:
    """Seconds in which a worker that works finishes a tensor."""
    largest = max((weight.tensor.nbytes for weight in pending.job.weights), default=0)
    return _SILENT_SECONDS + largest / _SLOWEST


def _refuse_classes_of_script(plan: Plan) -> None:
    """Raise a NoWorkerError for a method whose class is in the user's script, which the worker does not run."""
    for method in (method for rule in plan.rules for method in rule.methods):
        if type(method).__module__ == "__main__":
            name = type(method).__name__
            raise NoWorkerError(f"the class {name} is in the script itself: move it to a module that can be imported")
