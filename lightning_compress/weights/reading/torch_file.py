"""The two containers of ``torch.save``: zip archives, and the files of torch before 1.6.

Both are read here, and not by ``torch.load``: it would rebuild every tensor of the file, the state of the optimizer
included, and it can leave them on disk only by mapping the file into memory. If a mapped file is cut short, the next
access ends the process with SIGBUS. Here a storage is read when a tensor that lies in it is built.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.files import Source, SourcePart
from lightning_compress.weights.deferred import DeferredTensor
from lightning_compress.weights.reading.file_bytes import bytes_at
from lightning_compress.weights.reading.file_kinds import ZIP, foreign_zip
from lightning_compress.weights.reading.inert_pickle import InertUnpickler, StorageRecord
from lightning_compress.weights.reading.opcodes import checked_pickle
from lightning_compress.weights.reading.tensor_records import TensorRecord, check_within, itemsize_of, tensor_record

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: signature, and the lengths of name and extra field


class TorchFile:
    """A file that ``torch.save`` wrote. Its content is read without running code.

    Args:
        source: the file, or the part of a file that is one.

    Attributes:
        content: plain values, records of tensors, and placeholders.

    Raises:
        WeightsError: the file is of another kind, or dangerous to read.
    """

    def __init__(self, source: Source | SourcePart) -> None:
        self._source = source
        file = source.as_file()
        is_zip = file.read(len(ZIP)) == ZIP
        file.seek(0)
        container: _Container = _Zip(file, source.nbytes) if is_zip else _Legacy(file, source.nbytes)
        self.content = container.content()
        self._container = container
        self._places: dict[str, tuple[int, int]] = {}
        self._storages: dict[str, torch.UntypedStorage] = {}

    def tensor(self, value: object) -> Tensor:
        """The tensor of a record; tensors of one storage share its memory.

        Raises:
            WeightsError: as for :func:`~lightning_compress.weights.reading.tensor_records.tensor_record`, or the tensor
                exceeds its storage; the message has no subject.
            OSError: the file was changed.
        """
        record = tensor_record(value)
        key, (start, nbytes) = record.storage.key, self._place(record)
        if key not in self._storages:
            self._storages[key] = self._read(start, nbytes)
        empty = torch.empty(0, dtype=record.dtype)
        return empty.set_(self._storages[key], record.offset, record.shape, record.stride)

    def deferred(self, value: object) -> DeferredTensor:
        """As :meth:`tensor`, but the values are read from the file each time that they are needed."""
        record = tensor_record(value)
        start, _ = self._place(record)
        first, end = (elements * record.dtype.itemsize for elements in (record.offset, record.end))

        def make() -> Tensor:
            storage = self._read(start + first, max(0, end - first) if record.nbytes else 0)
            return torch.empty(0, dtype=record.dtype).set_(storage, 0, record.shape, record.stride)

        memory = (self._source.identity, record.storage.key)
        return DeferredTensor(make, record.dtype, record.shape, record.stride, record.offset, memory)

    def _place(self, record: TensorRecord) -> tuple[int, int]:
        key = record.storage.key
        if key not in self._places:
            self._places[key] = self._container.place(record.storage)
        check_within(record, self._places[key][1])
        return self._places[key]

    def _read(self, start: int, nbytes: int) -> torch.UntypedStorage:
        return bytes_at(self._source, start, nbytes).untyped_storage()


class _Container(Protocol):
    def content(self) -> Any: ...

    def place(self, record: StorageRecord) -> tuple[int, int]:
        """First byte and number of bytes of a storage; the places of two storages never overlap."""


class _Zip:
    """A zip archive with one folder: ``data.pkl``, and one file ``data/KEY`` per storage."""

    def __init__(self, file: BinaryIO, nbytes: int) -> None:
        self._archive = zipfile.ZipFile(file)
        self._file = file
        self._nbytes = nbytes
        reason = foreign_zip(self._archive.namelist())
        if reason is not None:
            raise WeightsError(reason)
        pickled = next(name for name in self._archive.namelist() if name.split("/")[-1] == "data.pkl")
        self._folder = pickled.removesuffix("data.pkl")
        self._pickle = checked_pickle(io.BytesIO(self._read(pickled)))
        self._bytes_left = nbytes

    def content(self) -> Any:
        order = f"{self._folder}byteorder"
        if order in self._archive.NameToInfo and self._read(order) != b"little":
            raise WeightsError("was written on a big-endian machine: save it again on a little-endian one")
        return InertUnpickler(self._pickle).load()

    def place(self, record: StorageRecord) -> tuple[int, int]:
        name = f"{self._folder}data/{record.key}"
        info = self._archive.getinfo(name)
        self._check_stored(info)
        self._file.seek(info.header_offset)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if signature != ZIP or start + info.file_size > self._nbytes:
            raise ValueError(f"its entry {name} is damaged")
        self._bytes_left -= info.file_size
        if self._bytes_left < 0:
            raise WeightsError("has entries that overlap: it is damaged, or made to take far more memory than its size")
        return start, info.file_size

    def _read(self, name: str) -> bytes:
        self._check_stored(self._archive.getinfo(name))
        return self._archive.read(name)

    @staticmethod
    def _check_stored(info: zipfile.ZipInfo) -> None:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise WeightsError("was compressed again by a zip program: unpack it, and pack it with zip -0")


class _Legacy:
    """Five pickles (magic number, version, system, content, storage keys), then the elements of each storage."""

    def __init__(self, file: BinaryIO, nbytes: int) -> None:
        *_, self._pickle, self._keys = (checked_pickle(file) for _ in range(5))
        self._first_byte = file.tell()
        self._file = file
        self._nbytes = nbytes

    def content(self) -> Any:
        unpickler = InertUnpickler(self._pickle)
        content = unpickler.load()
        self._places = dict(self._find_places(unpickler.storages))
        return content

    def place(self, record: StorageRecord) -> tuple[int, int]:
        return self._places[record.key]

    def _find_places(self, records: dict[str, StorageRecord]) -> Iterator[tuple[str, tuple[int, int]]]:
        """Key → first byte and number of bytes of each storage: a count of 8 bytes stands before its elements."""
        start = self._first_byte
        for key in InertUnpickler(self._keys).load():
            self._file.seek(start)
            (elements,) = struct.unpack("<q", self._file.read(8))
            nbytes = elements * itemsize_of(records[key])
            if elements < 0 or start + 8 + nbytes > self._nbytes:
                raise WeightsError(f"ends within its storage {key}: the file is damaged")
            yield key, (start + 8, nbytes)
            start += 8 + nbytes
