"""Children of a process that has imported everything: each runs a training, reports marks, and may be killed.

The parent must not start threads, and must not compute in parallel regions, before it forks.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Mark = Callable[[str], None]


@dataclass(frozen=True)
class DelayedKill:
    """SIGKILL some time after the n-th mark of a kind.

    Attributes:
        mark: the beginning of the mark's text.
        number: of the mark, from 1.
        seconds: from the mark to the signal.
    """

    mark: str
    number: int
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: exit status; minus the number of the signal that ended it.
        marks: what it has reported, in order, with the time since its start in seconds.
    """

    code: int
    marks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


def run_child(work: Callable[[Mark], object], log: Path, kill: DelayedKill | None = None) -> Ended:
    """Run ``work`` in a child and wait for its end; then the processes of its group are killed.

    The worker process of a background export has a group of its own, and outlives a killed training for a moment.

    Args:
        work: called with a function that reports a line to the parent.
        log: takes what the child prints.
        kill: when the child is killed; None: it may kill itself.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os.close(reader)
        _be_child(work, log, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    try:
        return _attend(process, reader, kill)
    finally:
        os.close(reader)


def _be_child(work: Callable[[Mark], object], log: Path, writer: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work(lambda text: _report(writer, text))
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())  # sys.stderr may lead elsewhere
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _report(writer: int, text: str) -> None:
    os.write(writer, f"{text}\n".encode())


def _attend(process: int, reader: int, kill: DelayedKill | None) -> Ended:
    began, marks, buffer, due = time.monotonic(), [], b"", None
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        select.select([reader], [], [], 0.002)
        buffer += _available(reader)
        *lines, buffer = buffer.split(b"\n")
        marks += [(time.monotonic() - began, line.decode()) for line in lines]
        if ended:
            _signal_group(process)
            return Ended(os.waitstatus_to_exitcode(status), marks)
        if kill and due is None and sum(text.startswith(kill.mark) for _, text in marks) >= kill.number:
            due = time.monotonic() + kill.seconds
        if due is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            os.kill(process, signal.SIGKILL)
            due, kill = None, None


def _signal_group(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _available(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""
