"""The two containers of ``torch.save``: zip archives, and the files of torch before 1.6."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import torch

from lightning_compress import files
from lightning_compress.errors import WeightsError
from lightning_compress.files import is_remote, local_path
from lightning_compress.weights.reading.file_kinds import ZIP, foreign_zip
from lightning_compress.weights.reading.inert_pickle import InertUnpickler, StorageRecord
from lightning_compress.weights.reading.opcodes import checked_pickle
from lightning_compress.weights.reading.tensor_records import Storages, itemsize_of

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: signature, and the lengths of name and extra field


def open_file(path: str) -> BinaryIO:
    """A local file, or the downloaded content of a remote one.

    Raises:
        OSError: it cannot be read, or is a directory, FIFO, device or socket.
    """
    return files.open_file(path)


def read_torch_file(path: str, file: BinaryIO) -> tuple[Any, Storages]:
    """The content of a file that ``torch.save`` wrote, and the storages that its tensor records refer to.

    What ``torch.load(weights_only=True)`` reads holds tensors. Anything else is read without running code and holds
    placeholders and tensor records. Tensors of a local zip archive are memory-mapped.

    Raises:
        WeightsError: the file is of another kind, or dangerous to read.
    """
    is_zip = file.read(len(ZIP)) == ZIP
    file.seek(0)
    container: _Container = _Zip(file) if is_zip else _Legacy(file)
    file.seek(0)
    try:
        with warnings.catch_warnings():  # about the pickle protocol; other protocols are read below
            warnings.simplefilter("ignore")
            return _weights_only(path, file, mmap=is_zip), container.storage
    except Exception:  # code is named, or what the file holds cannot be rebuilt, which the other reader says by name
        container.map(_storage_of(path, file))
        return container.content(), container.storage


def _weights_only(path: str, file: BinaryIO, mmap: bool) -> Any:
    if is_remote(path):
        return torch.load(file, map_location="cpu", weights_only=True)
    return torch.load(local_path(path), map_location="cpu", weights_only=True, mmap=mmap)


def _storage_of(path: str, file: BinaryIO) -> torch.UntypedStorage:
    """All bytes of a file as one storage, memory-mapped and copied on write if the file is local."""
    nbytes = file.seek(0, io.SEEK_END)
    if not is_remote(path):
        return torch.from_file(str(local_path(path)), False, nbytes, dtype=torch.uint8).untyped_storage()
    file.seek(0)
    return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).untyped_storage()


class _Container(Protocol):
    def map(self, whole: torch.UntypedStorage) -> None: ...

    def content(self) -> Any: ...

    def storage(self, record: StorageRecord) -> torch.UntypedStorage: ...


class _Zip:
    """A zip archive with one folder: ``data.pkl``, and one file ``data/KEY`` per storage."""

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file)
        self._file = file
        reason = foreign_zip(self._archive.namelist())
        if reason is not None:
            raise WeightsError(reason)
        pickled = next(name for name in self._archive.namelist() if name.split("/")[-1] == "data.pkl")
        self._folder = pickled.removesuffix("data.pkl")
        self._pickle = checked_pickle(io.BytesIO(self._read(pickled)))
        self._storages: dict[str, torch.UntypedStorage] = {}

    def map(self, whole: torch.UntypedStorage) -> None:
        self._whole = whole

    def content(self) -> Any:
        if (
            f"{self._folder}byteorder" in self._archive.namelist()
            and self._read(f"{self._folder}byteorder") != b"little"
        ):
            raise WeightsError("was written on a big-endian machine: save it again on a little-endian one")
        return InertUnpickler(self._pickle).load()

    def storage(self, record: StorageRecord) -> torch.UntypedStorage:
        if record.key not in self._storages:
            start, nbytes = self._place(f"{self._folder}data/{record.key}")
            self._storages[record.key] = self._whole[start : start + nbytes]
        return self._storages[record.key]

    def _read(self, name: str) -> bytes:
        self._check_stored(self._archive.getinfo(name))
        return self._archive.read(name)

    def _place(self, name: str) -> tuple[int, int]:
        """First byte and number of bytes of an entry."""
        info = self._archive.getinfo(name)
        self._check_stored(info)
        self._file.seek(info.header_offset)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if signature != ZIP or start + info.file_size > self._whole.nbytes():
            raise ValueError(f"its entry {name} is damaged")
        return start, info.file_size

    @staticmethod
    def _check_stored(info: zipfile.ZipInfo) -> None:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise WeightsError("was compressed again by a zip program: unpack it, and pack it with zip -0")


class _Legacy:
    """Five pickles (magic number, version, system, content, storage keys), then the elements of each storage."""

    def __init__(self, file: BinaryIO) -> None:
        *_, self._pickle, self._keys = (checked_pickle(file) for _ in range(5))
        self._first_byte = file.tell()
        self._file = file
        self._storages: dict[str, torch.UntypedStorage] = {}

    def map(self, whole: torch.UntypedStorage) -> None:
        self._whole = whole

    def content(self) -> Any:
        unpickler = InertUnpickler(self._pickle)
        content = unpickler.load()
        self._places = dict(self._find_places(unpickler.storages))
        return content

    def storage(self, record: StorageRecord) -> torch.UntypedStorage:
        if record.key not in self._storages:
            start, nbytes = self._places[record.key]
            # Copied, because nothing aligns the storages of these files.
            self._storages[record.key] = self._whole[start : start + nbytes].clone()
        return self._storages[record.key]

    def _find_places(self, records: dict[str, StorageRecord]) -> Iterator[tuple[str, tuple[int, int]]]:
        """Key → first byte and number of bytes of each storage: a count of 8 bytes stands before its elements."""
        start = self._first_byte
        for key in InertUnpickler(self._keys).load():
            self._file.seek(start)
            (elements,) = struct.unpack("<q", self._file.read(8))
            nbytes = elements * itemsize_of(records[key])
            if elements < 0 or start + 8 + nbytes > self._whole.nbytes():
                raise WeightsError(f"ends within its storage {key}: the file is damaged")
            yield key, (start + 8, nbytes)
            start += 8 + nbytes
