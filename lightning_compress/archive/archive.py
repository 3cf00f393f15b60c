"""A compressed model, in memory or opened from a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

import torch
from torch import Tensor

from lightning_compress.archive import reader, writer
from lightning_compress.archive.encode import decode_streams
from lightning_compress.archive.limits import workers_within
from lightning_compress.archive.manifest.envelope import canonical, text_of
from lightning_compress.archive.manifest.spec import Entry, Manifest
from lightning_compress.archive.report import Report, report
from lightning_compress.archive.streams import StreamsInFile
from lightning_compress.archive.tensors import Tensors
from lightning_compress.errors import FormatError, VerificationError
from lightning_compress.files import Source, replace_file
from lightning_compress.quantize import Words
from lightning_compress.runtime import one_thread, workers_in_little_memory
from lightning_compress.runtime.cached import cached_property
from lightning_compress.weights import CheckpointRecord, Tie


@dataclass(frozen=True, eq=False)
class Archive:
    """A manifest and the coded streams it describes.

    Attributes:
        manifest: the description of the file's content.
        streams: key of a tensor or asset → its coded streams, concatenated.
        opened_bytes: size in bytes of the file it was opened from; None if it was made in memory or changed since.
    """

    manifest: Manifest
    streams: Mapping[str, bytes | memoryview]
    opened_bytes: int | None = None

    @classmethod
    def open(cls, path: str | PathLike[str], *, max_bytes: int | None = None, deferred: bool = False) -> Archive:
        """Read a file and check header and sizes; nothing is decoded yet.

        Args:
            path: local path, or a URL that fsspec opens.
            deferred: whether coded bytes are read only when their tensor is decoded, remote ones by ranges. The file
                stays open as long as the archive; a change to it is found by the checksum of each tensor. By default
                all is read, and the file is closed, when this returns.
            max_bytes: how many bytes it may restore to; by default 1 GiB or 2000 times the file, whichever is larger.
                It bounds memory and time, too: see "Limits" in docs/format.md.

        Raises:
            FormatError: the file is truncated, foreign, newer, damaged or hostile; most cases have a subclass.
            OSError: the file cannot be read.
        """
        if max_bytes is not None and not _is_size(max_bytes):
            raise FormatError(f"max_bytes is {max_bytes!r:.80}, expected a number of bytes from 0, or None")
        source = Source(fspath(path), whole=not deferred)
        manifest, parts, start = reader.read_manifest(source.as_file(), fspath(path), max_bytes)
        streams = StreamsInFile(source, parts, start)
        return cls(manifest, streams if deferred else dict(streams), opened_bytes=source.nbytes)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the file it was opened from, else of the file that ``save`` writes; header and assets included."""
        if self.opened_bytes is not None:
            return self.opened_bytes
        return writer.file_bytes(self.manifest)

    @cached_property
    def tensors(self) -> Tensors:
        """Name → tensor, tied ones included, each decoded when it is asked for, and again the next time."""
        return Tensors(self.manifest, self.streams)

    def save(
        self,
        path: str | PathLike[str],
        *,
        on_tensor: Callable[[Entry], None] | None = None,
        on_verified: Callable[[], None] | None = None,
    ) -> int:
        """Write the file, and give it its name only after everything in it was read back, decoded and compared.

        Args:
            path: local path, or a URL that fsspec opens; an existing file is replaced if this package wrote it.
            on_tensor: called after each tensor was read back, for progress.
            on_verified: called when everything was read back, before the file gets its name; if it raises, the file is
                deleted.

        Returns:
            Bytes on disk.

        Raises:
            ForeignFileError: a file of another kind exists at the path.
            VerificationError: the written file does not decode to the archive.
            OSError: the file cannot be written; no partial file is left.
        """

        nbytes = 0

        def check(written: str) -> None:
            nonlocal nbytes
            try:
                limit = self.manifest.raw_bytes + self.manifest.tied_bytes + (1 << 40)
                again = Archive.open(written, max_bytes=limit, deferred=True)
                if text_of(again.manifest) != text_of(self.manifest):
                    raise FormatError("the manifest differs")
                again.verify(on_tensor=on_tensor)
                nbytes = again.nbytes
            except FormatError as error:
                raise VerificationError(f"{path} did not read back as it was written: {error}") from error
            if on_verified is not None:
                on_verified()

        replace_file(fspath(path), writer.file_parts(self.manifest, self.streams), check, reader.is_archive)
        return nbytes

    def restore(
        self,
        *,
        names: Collection[str] | None = None,
        device: str | torch.device = "cpu",
        on_tensor: Callable[[Entry], None] | None = None,
    ) -> dict[str, Tensor]:
        """Every stored tensor in its original dtype; tied names share memory.

        Args:
            names: of the tensors to restore; all by default. Other names are ignored.
            device: where the tensors are moved to, one at a time.
            on_tensor: called after each stored tensor, for progress.

        Raises:
            FormatError, ChecksumError: a stream is damaged.
        """
        ties = {n: tie for n, tie in self.manifest.ties.items() if names is None or n in names}
        with one_thread():
            manifest = self._restricted(ties, names)
            restored = reader.restore(manifest, self.streams, on_tensor, workers_within(manifest))
            tensors = {name: tensor.to(device) for name, tensor in restored}
        tensors |= {name: tie.view(tensors[tie.of]) for name, tie in ties.items()}
        return tensors if names is None else {name: tensors[name] for name in tensors if name in names}

    def streams_named(self, name: str) -> dict[str, Words]:
        """Tensor name → the words of its stream of this name (such as ``row_exponents``), for each tensor that has one.

        Raises:
            FormatError, ChecksumError: a stream is damaged.
        """
        having = (e for e in self.manifest.entries if any(record.name == name for record in e.streams))
        return {
            entry.name: decode_streams(entry, memoryview(self.streams[entry.key]), [name])[name] for entry in having
        }

    def assets(self) -> dict[str, bytes]:
        """The attached files by name.

        Raises:
            FormatError, ChecksumError: a stream is damaged.
        """
        return reader.restore_assets(self.manifest, self.streams)

    def record(self) -> CheckpointRecord:
        """What the file holds of the module beside tensors.

        Raises:
            FormatError, ChecksumError: a stream of an attached file is damaged.
        """
        held = {name: getattr(self.manifest, name) for name in vars(CheckpointRecord())}
        return CheckpointRecord(**(held | {"assets": self.assets()}))

    def verify(self, *, on_tensor: Callable[[Entry], None] | None = None) -> None:
        """Decode everything and compare it with its checksums; arguments as for :meth:`restore`.

        Raises:
            FormatError, ChecksumError: a stream or value is damaged; the first one is reported.
        """
        with one_thread():
            reader.verify(self.manifest, self.streams, on_tensor, self._verifying_workers())

    def _restricted(self, ties: Mapping[str, Tie], names: Collection[str] | None) -> Manifest:
        """The manifest with the entries of these names and ties only."""
        if names is None:
            return self.manifest
        wanted = {*names, *(tie.of for tie in ties.values())}
        return replace(self.manifest, entries=tuple(e for e in self.manifest.entries if e.name in wanted))

    def _verifying_workers(self) -> int:
        workers = workers_within(self.manifest)
        if isinstance(self.streams, StreamsInFile):  # the model may be larger than the memory
            workers = min(workers, workers_in_little_memory([entry.raw_bytes for entry in self.manifest.entries]))
        return workers

    def report(self) -> Report:
        """Sizes of each tensor, of each class and of the whole file."""
        return report(self.manifest, self.nbytes)

    def with_metrics(self, metrics: Mapping[str, Any]) -> Archive:
        """The same archive with these measurements added to its manifest.

        Raises:
            FormatError: JSON cannot hold a value; NaN is an example.
        """
        canonical(dict(metrics))
        manifest = replace(self.manifest, metrics={**self.manifest.metrics, **metrics})
        return replace(self, manifest=manifest, opened_bytes=None)


def _is_size(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
