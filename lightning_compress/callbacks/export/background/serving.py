"""Carries out the tasks of a training process, in the worker process."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from time import monotonic

import torch

from lightning_compress.callbacks.export.background.messages import (
    Answer,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Connection,
    Failed,
    LogRecord,
    Message,
    Refused,
    Setup,
    Started,
    Task,
    Verified,
    Working,
)
from lightning_compress.callbacks.export.background.shared_weights import read_shared
from lightning_compress.callbacks.export.companions.writing import CompanionWriter
from lightning_compress.callbacks.export.exporter import export_error
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError, CompressionError
from lightning_compress.weights import Weights

_POLL_SECONDS = 1.0  # between two looks at the parent process
_REPORT_SECONDS = 5.0  # between two messages that the work goes on


class CancelledError(Exception):
    """The training process has cancelled the task."""


class Server:
    """Compresses by one plan.

    It ends when the training process ends: the connection closes, or the worker has another parent, if a process that
    the training has forked still holds the other end of the connection.

    Args:
        end: of the socket pair.
        parent: number of the training process.
    """

    def __init__(self, end: socket.socket, parent: int) -> None:
        self._connection = Connection(end)
        self._parent = parent
        self._log = _CollectedLog()
        self._task = 0  # number of the task in work
        self._reported = 0.0  # when it was last said that the work goes on, by time.monotonic

    def run(self) -> None:
        """Work until the training process closes the connection.

        Raises:
            EOFError: it has.
        """
        logging.getLogger("lightning_compress").addHandler(self._log)
        torch.set_num_threads(1)
        try:
            plan = self._set_up()
        except Exception as error:
            self._connection.send(Started(f"{type(error).__name__}: {error}"))
            return
        self._connection.send(Started())
        writer = CompanionWriter(lambda weights: plan.compress(weights, on_tensor=self._check))
        while True:
            message = self._next_message()
            if isinstance(message, Task):  # a Cancel that comes now is of a task that has ended
                self._connection.send(self._carry_out(message, writer))

    def _set_up(self) -> GuidedPlan:
        setup = self._next_message()
        assert isinstance(setup, Setup)
        sys.path[:] = setup.module_path
        os.chdir(setup.folder)
        plan: GuidedPlan = pickle.loads(setup.plan)
        return plan

    def _carry_out(self, task: Task, writer: CompanionWriter) -> Answer:
        self._task = task.number
        try:
            weights = self._weights_of(task)
        except Exception as error:
            return Refused(task.number, f"{type(error).__name__}: {error}")
        try:
            with torch.no_grad():
                written = writer.write(weights, task.target, on_progress=self._check, on_verified=self._wait_for_commit)
        except CancelledError:
            return Cancelled(task.number)
        except EOFError:
            raise
        except Exception as error:
            failure = export_error(task.target, error)
            return Failed(task.number, *_portable(failure), self._log.take())
        return Committed(task.number, weights.fingerprint, written.is_new, self._log.take())

    def _weights_of(self, task: Task) -> Weights:
        descriptor = self._connection.take_descriptor()
        try:
            return read_shared(descriptor, task.contents_at, task.nbytes)
        finally:
            os.close(descriptor)

    def _check(self, _: object) -> None:
        """Stop working on a cancelled task, and report on another one. Called after each tensor."""
        if monotonic() > self._reported + _REPORT_SECONDS and self._connection.has_room():
            self._reported = monotonic()
            self._connection.send(Working(self._task))
        message = self._receive(0)
        if isinstance(message, Cancel) and message.number == self._task:
            raise CancelledError

    def _wait_for_commit(self) -> None:
        """Ask whether the file may have its name, which a newer checkpoint under this name forbids."""
        self._connection.send(Verified(self._task))
        while True:
            message = self._next_message()
            if isinstance(message, Commit) and message.number == self._task:
                return
            if isinstance(message, Cancel) and message.number == self._task:
                raise CancelledError

    def _next_message(self) -> Message:
        while (message := self._receive(_POLL_SECONDS)) is None:
            pass
        return message

    def _receive(self, seconds: float) -> Message | None:
        if os.getppid() != self._parent:
            raise EOFError("the training process has ended")
        return self._connection.receive(seconds)


def _portable(error: CompressionError) -> tuple[CompressionError, BaseException | None]:
    """An error and its cause as the training process can read them."""
    cause = error.__cause__
    return error if _is_portable(error) else CallbackError(str(error)), cause if _is_portable(cause) else None


def _is_portable(error: BaseException | None) -> bool:
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return type(again) is type(error) and str(again) == str(error)


class _CollectedLog(logging.Handler):
    """Collects the warnings and errors of this package."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect one message."""
        self._records.append(LogRecord(record.name, record.levelno, record.getMessage()))

    def take(self) -> tuple[LogRecord, ...]:
        """The messages since the last call."""
        records, self._records = tuple(self._records), []
        return records
