"""The program of the worker process: ``python -m lightning_compress.callbacks.export.background.worker DESCRIPTOR``.

It imports no Lightning, works at low priority, and ignores the signals that end a training: the training process
receives them too, and decides which files are still written.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

NICENESS = 10  # the training and its data loaders come first


def main(descriptor: int) -> None:
    """Serve the training process at the other end of a socket until it closes the connection or ends."""
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    # Imported at low priority, because importing torch takes more than a second.
    from lightning_compress.callbacks.export.background.serving import Server

    with suppress(EOFError):  # the training process has ended
        Server(socket.socket(fileno=descriptor), parent).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
