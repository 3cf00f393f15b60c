"""Messages between the training process and its worker, as length-prefixed pickles over a pair of Unix sockets.

The training sends :class:`Setup` once, then a :class:`Task` at a time. The worker answers :class:`Started`, and each
task by :class:`Refused`, :class:`Failed` or :class:`Verified`; meanwhile it sends :class:`Working`, because a worker
that is silent for long is killed. A verified file has only a temporary name. It gets its own name if the training
answers :class:`Commit`, and is deleted if it answers :class:`Cancel`, which may also come at any earlier time. The
worker then answers :class:`Committed` or :class:`Cancelled`.
"""

from __future__ import annotations

import pickle
import select
import socket
import time
from dataclasses import dataclass

from lightning_compress.errors import CompressionError

_PREFIX_BYTES = 8
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class LogRecord:
    """A message of the worker's log, which the training process writes to its own."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True)
class Setup:
    """Where the worker finds modules and files, and how it compresses.

    Attributes:
        module_path: ``sys.path`` of the training process.
        folder: its working directory.
        plan: the pickled plan, whose classes may be in the user's modules.
    """

    module_path: tuple[str, ...]
    folder: str
    plan: bytes


@dataclass(frozen=True)
class Task:
    """Write the companion file of the weights in the memory whose descriptor comes with this message.

    Attributes:
        number: identifies the task.
        target: path of the companion file.
        contents_at: position of the table of contents in the memory.
        nbytes: size of the memory that is in use.
    """

    number: int
    target: str
    contents_at: int
    nbytes: int


@dataclass(frozen=True)
class Commit:
    """Give the verified file its name."""

    number: int


@dataclass(frozen=True)
class Cancel:
    """Write no file. It is ignored if the task has ended."""

    number: int


@dataclass(frozen=True)
class Started:
    """The worker is ready; or why it cannot be used: the plan needs a class that it cannot import."""

    problem: str = ""


@dataclass(frozen=True)
class Refused:
    """The weights of a task could not be read: a value in them needs a class that the worker cannot import."""

    number: int
    problem: str


@dataclass(frozen=True)
class Working:
    """Another tensor was compressed, or verified."""

    number: int


@dataclass(frozen=True)
class Verified:
    """The file was written and read back, and waits for its name."""

    number: int


@dataclass(frozen=True)
class Committed:
    """The file has its name.

    Attributes:
        number: of the task.
        fingerprint: of its weights.
        is_new: whether no earlier file of this worker holds these weights.
        log: messages of the worker.
    """

    number: int
    fingerprint: str
    is_new: bool
    log: tuple[LogRecord, ...] = ()


@dataclass(frozen=True)
class Cancelled:
    """The task was given up, and no file of it is left."""

    number: int


@dataclass(frozen=True, eq=False)
class Failed:
    """The export failed, and no file of it is left.

    Attributes:
        number: of the task.
        error: as the inline export reports it.
        cause: its ``__cause__``, which a pickle of the error does not hold.
        log: messages of the worker.
    """

    number: int
    error: CompressionError
    cause: BaseException | None
    log: tuple[LogRecord, ...] = ()


Answer = Started | Refused | Working | Verified | Committed | Cancelled | Failed
Message = Setup | Task | Commit | Cancel | Answer


class Connection:
    """One end of the socket pair.

    Args:
        end: a connected stream socket of the family ``AF_UNIX``.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._received = bytearray()
        self._descriptors: list[int] = []

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message, and a file descriptor with it.

        Raises:
            EOFError: the other process has ended.
        """
        data = pickle.dumps(message)
        prefix = len(data).to_bytes(_PREFIX_BYTES, "little")
        try:
            socket.send_fds(self._socket, [prefix], [] if descriptor is None else [descriptor])
            self._socket.sendall(data)
        except ConnectionError as error:
            raise EOFError("the other process has ended") from error

    def receive(self, seconds: float) -> Message | None:
        """The next message; None if none arrives within so many seconds.

        Raises:
            EOFError: the other process has ended.
        """
        end = time.monotonic() + seconds
        while (message := self._next()) is None:
            if not select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            try:
                data, descriptors, *_ = socket.recv_fds(self._socket, _CHUNK_BYTES, 1)
            except ConnectionError as error:
                raise EOFError("the other process has ended") from error
            if not data:
                raise EOFError("the other process has ended")
            self._received += data
            self._descriptors += descriptors
        return message

    def has_room(self) -> bool:
        """Whether a short message can be sent without waiting for the other process to read earlier ones."""
        return bool(select.select([], [self._socket], [], 0)[1])

    def take_descriptor(self) -> int:
        """The descriptor that came with a message, the oldest first; the caller closes it."""
        return self._descriptors.pop(0)

    def close(self) -> None:
        """Close this end, which the other process sees as the end of the messages."""
        self._socket.close()

    def _next(self) -> Message | None:
        """The first message that was received completely."""
        size = _PREFIX_BYTES + int.from_bytes(self._received[:_PREFIX_BYTES], "little")
        if len(self._received) < max(size, _PREFIX_BYTES):
            return None
        data = bytes(self._received[_PREFIX_BYTES:size])
        del self._received[:size]
        message: Message = pickle.loads(data)
        return message
