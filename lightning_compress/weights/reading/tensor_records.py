"""Builds tensors from the records of a pickle that was read without running code. Every bound is checked first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.weights.deferred import memory_of
from lightning_compress.weights.reading.inert_pickle import Placeholder, StorageRecord, path_of
from lightning_compress.weights.storable.state_dict import MAX_DIMENSIONS

_MAX_EXPANSION = 1 << 30  # bytes by which the tensors of a file may exceed it, as expanded ones do
DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}
_QUANTIZED_BYTES = {
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
# Rebuilding functions of torch → position of the dtype in their arguments, or None if the storage has it.
_DENSE = {
    "torch._utils._rebuild_tensor": None,
    "torch._utils._rebuild_tensor_v2": None,
    "torch._utils._rebuild_tensor_v3": 6,
}
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_TYPED = "torch._tensor._rebuild_from_type_v2"
_PLAIN_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
_OTHER_TENSORS = {
    "torch._utils._rebuild_qtensor": "a quantized tensor: save its dequantize(), or the weights before the conversion",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor: save its to_dense()",
    "torch._utils._rebuild_nested_tensor": "a nested tensor: save its parts",
    "torch._utils._rebuild_meta_tensor_no_storage": "on the meta device and has no values: materialize it first",
}


class TensorRecord(NamedTuple):
    """A dense tensor in a file: its storage, and its dtype, sizes and strides in it."""

    storage: StorageRecord
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Elements from the start of the storage to behind the last value."""
        return self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True)) + 1


def looks_like_tensor(value: object) -> bool:
    """Whether the value is a tensor, or torch would rebuild it to one of any type."""
    path = path_of(value)
    return isinstance(value, Tensor) or (
        isinstance(value, Placeholder) and (path in _DENSE or path in _PARAMETERS or path in (_TYPED, *_OTHER_TENSORS))
    )


def tensor_record(value: object) -> TensorRecord:
    """The record of a dense tensor.

    Raises:
        WeightsError: the value is none; the message says what it is, without a subject.
    """
    path = path_of(value)
    if not isinstance(value, Placeholder):
        raise WeightsError(f"of type {type(value).__name__}, expected a tensor")
    if path in _PARAMETERS and value.arguments:
        return tensor_record(value.arguments[0])
    if path == _TYPED and len(value.arguments) == 4:
        function, type_, arguments, _ = value.arguments
        if path_of(type_) not in _PLAIN_TYPES:
            raise WeightsError(f"of the tensor subclass {path_of(type_)}, which is not imported: save a plain tensor")
        return tensor_record(function(*arguments) if path_of(function) in _DENSE else function)
    if path in _DENSE:
        return _dense_record(value.arguments, _DENSE[path])
    raise WeightsError(_OTHER_TENSORS.get(str(path), f"a {path}, which is not imported, expected a tensor"))


def _dense_record(arguments: tuple[Any, ...], dtype_position: int | None) -> TensorRecord:
    storage, offset, shape, stride = arguments[:4]
    if dtype_position is None:
        dtype, metadata = _dtype_of(storage), arguments[6:7]
    else:
        dtype, metadata = DTYPES.get(str(path_of(arguments[dtype_position]))), arguments[7:8]
    if any(metadata):
        raise WeightsError("a lazily conjugated or negated tensor: save its resolve_conj() or resolve_neg()")
    if dtype is None or not isinstance(storage, StorageRecord):
        raise WeightsError("of a dtype that is not known: save it with another dtype")
    sizes = (offset, *shape, *stride)
    if (
        len(shape) != len(stride)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 1 << 62 for size in sizes)
    ):
        raise WeightsError("of an impossible shape: the file is damaged")
    return TensorRecord(storage, dtype, offset, tuple(shape), tuple(stride))


def _dtype_of(storage: object) -> torch.dtype | None:
    path = storage.type_path if isinstance(storage, StorageRecord) else ""
    return _STORAGE_DTYPES.get(path.rpartition(".")[2]) if path.startswith("torch.") else None


def check_within(record: TensorRecord, storage_bytes: int) -> None:
    """Raise a WeightsError for a tensor that exceeds its storage; the message has no subject."""
    if record.nbytes and record.end * record.dtype.itemsize > storage_bytes:
        raise WeightsError("larger than its storage: the file is damaged")


def check_expansion(tensors: Mapping[str, Tensor], file_bytes: int) -> None:
    """Refuse tensors that hold the same few bytes over and over. Tensors that are the same view count once.

    Raises:
        WeightsError: they have over 1 GiB more bytes than the file; the message has no subject.
    """
    views = {
        (memory_of(tensor), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()): tensor.nbytes
        for tensor in tensors.values()
    }
    expanded = sum(views.values())
    if expanded > file_bytes + _MAX_EXPANSION:
        largest = max(tensors, key=lambda name: tensors[name].nbytes)
        raise WeightsError(
            f"({file_bytes:,} bytes) holds tensors that are expanded to {expanded:,} bytes, {largest!r} the most: save "
            "them unexpanded, by clone()"
        )


def itemsize_of(record: StorageRecord) -> int:
    """Bytes of one element of a storage.

    Raises:
        WeightsError: its type is not known.
    """
    dtype = _dtype_of(record)
    nbytes = _QUANTIZED_BYTES.get(record.type_path.rpartition(".")[2]) if dtype is None else dtype.itemsize
    if nbytes is None:
        raise WeightsError(f"holds a storage of type {record.type_path}, which is not known")
    return nbytes
