"""A compressed model: in memory, or opened from its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike, fspath
from typing import Any

from torch import Tensor

from lightning_compress.archive import reader, writer
from lightning_compress.archive.encode import decode_streams
from lightning_compress.archive.envelope import canonical, to_envelope
from lightning_compress.archive.report import Report, report
from lightning_compress.archive.spec import Entry, Manifest
from lightning_compress.errors import FormatError, VerificationError
from lightning_compress.files import read_bytes, replace_file
from lightning_compress.quantize import Words
from lightning_compress.runtime import one_thread


@dataclass(frozen=True, eq=False)
class Archive:
    """A manifest and the coded streams it describes.

    Attributes:
        manifest: what the file says of itself.
        streams: the coded streams of each tensor and asset, one after the other, by its key.
        opened_bytes: bytes of the file it was opened from; None where it was changed since, or made in memory.
    """

    manifest: Manifest
    streams: Mapping[str, bytes | memoryview]
    opened_bytes: int | None = None

    @classmethod
    def open(cls, path: str | PathLike[str], *, max_bytes: int | None = None) -> Archive:
        """Open a file: header and sizes are checked, nothing is decoded yet.

        Args:
            path: local path, or a URL that fsspec opens.
            max_bytes: how many bytes it may restore to; 1 GiB or 2000 times the file, whichever is larger, by default.

        Raises:
            FormatError: a truncated, foreign, newer, damaged or hostile file, each by its own subclass.
            OSError: it cannot be read.
        """
        data = read_bytes(fspath(path))
        return cls(*reader.parse(data, fspath(path), max_bytes), opened_bytes=len(data))

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the file, header and assets included: of that it was opened from, else of that ``save`` writes."""
        if self.opened_bytes is not None:
            return self.opened_bytes
        return sum(memoryview(part).nbytes for part in writer.file_parts(self.manifest, self.streams))

    def save(self, path: str | PathLike[str], *, on_tensor: Callable[[Entry], None] | None = None) -> int:
        """Write the file and read it back; the name appears only when everything in it was decoded and compared.

        Args:
            path: local path, or a URL that fsspec opens; an existing file is replaced if it is one of ours.
            on_tensor: called after each tensor was read back, for progress.

        Returns:
            Bytes on disk.

        Raises:
            ForeignFileError: another file stands under that name.
            VerificationError: what was written does not read back.
            OSError: it cannot be written; no partial file is left.
        """

        def check(written: str) -> None:
            try:
                again = Archive.open(written, max_bytes=self.manifest.raw_bytes + self.manifest.tied_bytes + (1 << 40))
                if to_envelope(again.manifest) != to_envelope(self.manifest):
                    raise FormatError("the manifest differs")
                again.verify(on_tensor=on_tensor)
            except FormatError as error:
                raise VerificationError(f"{path} did not read back as it was written: {error}") from error

        parts = list(writer.file_parts(self.manifest, self.streams))
        replace_file(fspath(path), parts, check, reader.is_archive)
        return sum(memoryview(part).nbytes for part in parts)

    def restore(self, *, on_tensor: Callable[[Entry], None] | None = None) -> dict[str, Tensor]:
        """Every stored tensor in its original dtype; tied names share memory.

        Args:
            on_tensor: called after each stored tensor, for progress.

        Raises:
            FormatError, ChecksumError: a damaged stream.
        """
        with one_thread():
            tensors = dict(reader.restore(self.manifest, self._views(), on_tensor))
        return tensors | {name: tie.view(tensors[tie.of]) for name, tie in self.manifest.ties.items()}

    def streams_named(self, name: str) -> dict[str, Words]:
        """The words of the stream of this name, of each tensor that has one; ``row_exponents``, for example.

        Raises:
            FormatError, ChecksumError: a damaged stream.
        """
        views = self._views()
        having = (e for e in self.manifest.entries if any(record.name == name for record in e.streams))
        return {entry.name: decode_streams(entry, views[entry.key], [name])[name] for entry in having}

    def assets(self) -> dict[str, bytes]:
        """The attached files by name.

        Raises:
            FormatError, ChecksumError: a damaged stream.
        """
        return reader.restore_assets(self.manifest, self._views())

    def verify(self, *, on_tensor: Callable[[Entry], None] | None = None) -> None:
        """Decode everything and compare it with its checksums; arguments as for :meth:`restore`.

        Raises:
            FormatError, ChecksumError: the first thing that does not hold.
        """
        with one_thread():
            reader.verify(self.manifest, self._views(), on_tensor)

    def report(self) -> Report:
        """Sizes by tensor, by class and of the whole file."""
        return report(self.manifest, self.nbytes)

    def with_metrics(self, metrics: Mapping[str, Any]) -> Archive:
        """The same archive with these measurements added to its manifest.

        Raises:
            FormatError: a value that JSON cannot hold, NaN among them.
        """
        canonical(dict(metrics))
        manifest = replace(self.manifest, metrics={**self.manifest.metrics, **metrics})
        return replace(self, manifest=manifest, opened_bytes=None)

    def _views(self) -> dict[str, memoryview]:
        return {name: memoryview(data) for name, data in self.streams.items()}
