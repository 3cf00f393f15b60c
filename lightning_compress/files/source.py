"""A file that stays open, of which parts are read later."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING, BinaryIO

from lightning_compress.files.reading import open_file, open_ranges, read_into

if TYPE_CHECKING:
    from typing_extensions import Buffer


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


class SourcePart:
    """Consecutive bytes of a source, read as if they were a file of their own.

    Args:
        source: the whole file.
        start: position of the first byte.
        nbytes: how many bytes.
    """

    def __init__(self, source: Source, start: int, nbytes: int) -> None:
        self._source, self._start, self.nbytes = source, start, nbytes

    @property
    def identity(self) -> Hashable:
        """What all that is read from this part has in common."""
        return self._source.identity, self._start

    def as_file(self) -> BinaryIO:
        """The part as a file with a position of its own."""
        return io.BufferedReader(_PartReader(self))

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill a buffer with the bytes from a position within the part on.

        Raises:
            ChangedFileError: the file was changed since it was opened.
            ValueError: the part ends before.
        """
        if not 0 <= start <= start + len(target) <= self.nbytes:
            raise ValueError(f"its bytes end at {self.nbytes:,}, expected {start + len(target):,}")
        self._source.read_into(self._start + start, target)


class _PartReader(io.RawIOBase):
    def __init__(self, part: SourcePart) -> None:
        super().__init__()
        self._part, self._position = part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.nbytes}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to byte {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer).cast("B")
        target = target[: max(0, self._part.nbytes - self._position)]
        self._part.read_into(min(self._position, self._part.nbytes), target)
        self._position += len(target)
        return len(target)
