"""The worker process, as the training process sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lightning_compress.callbacks.export.background.messages import Connection, Message, Setup

_PROGRAM = "lightning_compress.callbacks.export.background.worker"
_PACKAGE_ROOT = Path(__file__).parents[4]
_END_SECONDS = 5.0  # a worker that has not ended by then is killed
_THREAD_VARIABLES = ("OMP", "OPENBLAS", "MKL", "NUMBA")


class WorkerProcess:
    """A worker that was started for one plan.

    It is a new Python, neither a fork of the training process, which may hold a GPU and threads, nor one that imports
    the user's script. It has a session of its own, so that the keyboard interrupts only the training.

    Args:
        setup: what the worker needs to know first.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        self._socket, self._connection = ours, Connection(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # -m looks for modules here first; a script in the working directory may have the name of one.
                cwd=_PACKAGE_ROOT,
                env=_environment(setup),
                start_new_session=True,
            )
        with suppress(EOFError):  # which the next call finds, too
            self.send(setup)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message, and a file descriptor with it.

        Raises:
            EOFError: the process has ended.
        """
        self._connection.send(message, descriptor)

    def receive(self, seconds: float) -> Message | None:
        """The next message; None if none arrives within so many seconds.

        Raises:
            EOFError: the process has ended.
        """
        return self._connection.receive(seconds)

    def end(self, *, kill: bool = False) -> str:
        """Let the process end, or kill it, and wait until it has ended; returns how it ended."""
        if kill:
            self._process.kill()
        with suppress(OSError):
            # Unlike close, this also works while a process that the training has forked holds the same end.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return f"exit status {status}" if status >= 0 else f"killed by signal {-status}"


def _environment(setup: Setup) -> dict[str, str]:
    """Variables of the worker: it finds the same modules, computes in one thread, and uses no GPU."""
    threads = {f"{library}_NUM_THREADS": "1" for library in _THREAD_VARIABLES}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(setup.module_path), "CUDA_VISIBLE_DEVICES": ""}
