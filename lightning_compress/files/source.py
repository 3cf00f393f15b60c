"""A file that stays open, of which parts are read later."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable
from typing import BinaryIO

from lightning_compress.files.reading import open_file, open_ranges, read_into


class ChangedFileError(OSError):
    """A file was changed or cut short while it was read."""


class Source:
    """An open file, local or remote. It is closed when nothing refers to it.

    It is read, and not mapped into memory (see :func:`~lightning_compress.files.reading.open_file`). A file that takes
    the place of this one does not matter, since this one stays open; a change in place is found at the next read.

    Args:
        path: local path or URL.
        whole: whether a remote file is downloaded at once, and not read by ranges as far as its filesystem can.

    Attributes:
        path: of the file.
        nbytes: size in bytes.

    Raises:
        OSError: as for :func:`~lightning_compress.files.reading.open_file`.
    """

    def __init__(self, path: str, *, whole: bool = True) -> None:
        self.path = path
        self._file = open_file(path) if whole else open_ranges(path)
        self.nbytes = self._file.seek(0, io.SEEK_END)
        self._state = self._current_state()

    @property
    def identity(self) -> Hashable:
        """What all that is read from this open file has in common."""
        return id(self)

    def as_file(self) -> BinaryIO:
        """The file, at its beginning; each call moves the same position."""
        self._file.seek(0)
        return self._file

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill a buffer with the bytes from a position on.

        Raises:
            ChangedFileError: the file was changed since it was opened.
        """
        if not read_into(self._file, start, target) or self._current_state() != self._state:
            raise ChangedFileError(
                f"{self.path} was changed or cut short while it was read: read it again when it is complete"
            )

    def _current_state(self) -> tuple[int, int]:
        try:
            state = os.fstat(self._file.fileno())
        except (AttributeError, OSError):  # remote
            return self.nbytes, 0
        return state.st_size, state.st_mtime_ns

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
