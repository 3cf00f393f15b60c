"""Coded bytes that need not be in memory: those of a file, and those of a large model before they have a file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from lightning_compress.errors import TruncatedError
from lightning_compress.files import read_into
from lightning_compress.weights.reading.file_bytes import Readable, bytes_at

_IN_MEMORY = 1 << 28  # bytes, beyond which coded streams go to a temporary file


class StreamsInFile(Mapping[str, memoryview]):
    """Key of a tensor or asset → its coded bytes, which are read from a file each time.

    Args:
        source: the file.
        parts: key and number of bytes of each, in the order of the file.
        start: where the first one begins.
    """

    def __init__(self, source: Readable, parts: Iterable[tuple[str, int]], start: int) -> None:
        self._source = source
        self._places: dict[str, tuple[int, int]] = {}
        for key, nbytes in parts:
            self._places[key] = (start, nbytes)
            start += nbytes

    def __getitem__(self, key: str) -> memoryview:
        """The coded bytes.

        Raises:
            TruncatedError: the file was changed since it was opened.
        """
        start, nbytes = self._places[key]
        try:
            return bytes_at(self._source, start, nbytes).numpy().data
        except OSError as error:
            raise TruncatedError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class SpooledStreams(Mapping[str, bytes]):
    """Key of a tensor or asset → its coded bytes. Beyond 256 MiB they go to a temporary file without a name."""

    def __init__(self) -> None:
        self._in_memory: dict[str, bytes] = {}
        self._bytes = 0
        self._file: BinaryIO | None = None
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, key: str, data: bytes) -> None:
        """Append the coded bytes of one tensor or asset.

        Raises:
            OSError: the temporary file cannot be written.
        """
        self._bytes += len(data)
        if self._bytes <= _IN_MEMORY:
            self._in_memory[key] = data
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._places[key] = (self._file.seek(0, io.SEEK_END), len(data))
        self._file.write(data)
        self._file.flush()  # it is read beside this buffer

    def __getitem__(self, key: str) -> bytes:
        if key in self._in_memory:
            return self._in_memory[key]
        start, nbytes = self._places[key]
        assert self._file is not None
        data = bytearray(nbytes)
        if not read_into(self._file, start, memoryview(data)):
            raise OSError(f"the temporary file of coded tensors lost bytes: it ends before {start + nbytes}")
        return bytes(data)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[str]:
        yield from self._in_memory
        yield from self._places

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._places)
