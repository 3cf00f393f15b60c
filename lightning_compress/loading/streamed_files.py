"""Writes safetensors files, and checkpoints that ``torch.load`` reads, one tensor at a time: no model is in memory."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import torch

from lightning_compress.errors import WeightsError
from lightning_compress.weights import SAFETENSORS_DTYPES, DeferredTensor, byte_array

Written = Callable[[str], object]  # called with the name of a tensor
_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}
_ALIGNMENT = 64  # of storages in checkpoints
_LOCAL_HEADER_BYTES = 30  # of a zip entry, before its name
_ZIP64_BYTES = 20  # of the extra field with sizes of 64 bits
_PADDING = b"FB"  # id of the extra field by which torch aligns entries
_STORAGES = {
    torch.float64: "DoubleStorage",
    torch.float32: "FloatStorage",
    torch.float16: "HalfStorage",
    torch.bfloat16: "BFloat16Storage",
    torch.int64: "LongStorage",
    torch.int32: "IntStorage",
    torch.int16: "ShortStorage",
    torch.int8: "CharStorage",
    torch.uint8: "ByteStorage",
    torch.bool: "BoolStorage",
    torch.complex128: "ComplexDoubleStorage",
    torch.complex64: "ComplexFloatStorage",
}


def write_safetensors(file: BinaryIO, tensors: Mapping[str, DeferredTensor], on_written: Written) -> None:
    """Write a plain safetensors file; tied tensors are written twice, as its readers expect.

    Args:
        file: new, and open for writing.
        tensors: by name.
        on_written: called after each tensor, for progress.

    Raises:
        WeightsError: the format does not have a dtype.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise WeightsError(f"safetensors cannot hold {tensor.dtype}, of {name!r}: expand to a .ckpt instead")
    # The larger the elements the earlier, so that all are aligned.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in ordered:
        end = start + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, tensor in ordered:
        file.write(byte_array(tensor).data)
        on_written(name)


def write_checkpoint(
    file: BinaryIO, checkpoint: Mapping[str, Any], stored: Mapping[str, DeferredTensor], on_written: Written
) -> None:
    """Write a file as ``torch.save`` does: a zip archive of a pickle and one entry for each storage.

    Args:
        file: new, and open for reading and writing.
        checkpoint: what is pickled. A deferred tensor in it is a view of one of ``stored``.
        stored: name → contiguous tensor, each of which becomes a storage.
        on_written: called after each of these, for progress.
    """
    keys = {
        tensor.memory: _Storage(str(key), tensor.dtype, tensor.numel()) for key, tensor in enumerate(stored.values())
    }
    pickled = io.BytesIO()
    _Pickler(pickled, keys).dump(dict(checkpoint))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("data.pkl"), pickled.getvalue())
        archive.writestr(_entry("byteorder"), sys.byteorder)
        for name, tensor in stored.items():
            entry = _aligned(_entry(f"data/{keys[tensor.memory].key}"), file.tell())
            entry.file_size = tensor.nbytes
            with archive.open(entry, "w", force_zip64=True) as out:
                out.write(byte_array(tensor).data)
            on_written(name)
        archive.writestr(_entry("version"), "3\n")


class _Storage(NamedTuple):
    """What the pickle says of a storage."""

    key: str
    dtype: torch.dtype
    elements: int


class _Pickler(pickle.Pickler):
    """Pickles deferred tensors as ``torch.save`` pickles tensors: the key of their storage, and their place in it."""

    def __init__(self, file: BinaryIO, storages: Mapping[Any, _Storage]) -> None:
        super().__init__(file, protocol=2)
        self._storages = storages

    def persistent_id(self, value: object) -> Any:
        """What stands for a storage; None for all other values."""
        if not isinstance(value, _Storage):
            return None
        kind = _STORAGES.get(value.dtype)
        elements = value.elements if kind else value.elements * value.dtype.itemsize
        return "storage", getattr(torch, kind or "UntypedStorage"), value.key, "cpu", elements

    def reducer_override(self, value: object) -> Any:
        """How a deferred tensor is rebuilt."""
        if not isinstance(value, DeferredTensor):
            return NotImplemented
        place: tuple[Any, ...] = (value.storage_offset(), tuple(value.shape), value.stride(), False, OrderedDict())
        storage = self._storages[value.memory]
        if value.dtype in _STORAGES:
            return torch._utils._rebuild_tensor_v2, (storage, *place)
        return torch._utils._rebuild_tensor_v3, (storage, *place, value.dtype)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"archive/{name}")  # of 1980, so that equal checkpoints are equal files


def _aligned(entry: zipfile.ZipInfo, position: int) -> zipfile.ZipInfo:
    """The entry with an extra field that makes its content begin at a multiple of 64 bytes."""
    begin = position + _LOCAL_HEADER_BYTES + len(entry.filename) + _ZIP64_BYTES + 4
    padding = -begin % _ALIGNMENT
    entry.extra = _PADDING + padding.to_bytes(2, "little") + b"Z" * padding
    return entry
