"""Reads safetensors files tensor by tensor.

The library maps such files into memory; if a mapped file is cut short, the next access ends the process with SIGBUS.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.files import Source
from lightning_compress.weights.deferred import DeferredTensor, contiguous_strides
from lightning_compress.weights.reading.file_bytes import bytes_at
from lightning_compress.weights.reading.state_dicts import shown
from lightning_compress.weights.storable.state_dict import MAX_DIMENSIONS

_OWN_METADATA = "lightning_compress"
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class _Place(NamedTuple):
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    nbytes: int


def is_safetensors(prefix: bytes) -> bool:
    """Whether a file that begins with these bytes has the header of a safetensors file."""
    return len(prefix) > 8 and prefix[8:9] == b"{" and struct.unpack("<Q", prefix[:8])[0] <= _MAX_HEADER_BYTES


def read_safetensors(path: str, *, deferred: bool = False) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the order of its header.

    Args:
        path: of the file.
        deferred: whether their values are read each time that they are needed.

    Raises:
        WeightsError: it is damaged, or a compressed file of this package.
        OSError: it cannot be read.
    """
    source = Source(path)
    try:
        file = source.as_file()
        header = _header(file)
        if _OWN_METADATA in _metadata(header):
            raise WeightsError(f"{path} is a compressed file already: give the checkpoint it was made from")
        places = _places(header, first=file.tell(), end=source.nbytes)
    except (ValueError, TypeError, AttributeError, RecursionError, KeyError) as error:
        raise WeightsError(f"{path} is a damaged safetensors file ({error})") from error
    return {name: (_deferred if deferred else _read)(source, name, place) for name, place in places.items()}


def _header(file: BinaryIO) -> dict[str, Any]:
    """The entries of the header; the file is left at the first byte behind it."""
    (nbytes,) = struct.unpack("<Q", file.read(8))
    header = file.read(min(nbytes, _MAX_HEADER_BYTES))
    if len(header) != nbytes:
        raise ValueError(f"its header has {len(header):,} bytes, expected {nbytes:,}")
    entries = dict(json.loads(header, object_pairs_hook=_without_repetition, parse_constant=_no_json))
    json.dumps(entries, ensure_ascii=False).encode()  # raises a ValueError for halves of surrogate pairs
    return entries


def _no_json(constant: str) -> None:
    raise ValueError(f"its header holds {constant}, which is not JSON")


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__", {})
    if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
        raise ValueError("its metadata are no texts")
    return metadata


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header names an entry twice")
    return entries


def _places(header: Mapping[str, Any], first: int, end: int) -> dict[str, _Place]:
    """Where each tensor lies in the file, whose tensors begin at byte ``first`` and end at ``end``.

    Raises:
        ValueError: a tensor's bytes are not those of its shape, or the tensors do not fill the file without gaps.
    """
    places = {name: _place(name, entry, first) for name, entry in header.items() if name != "__metadata__"}
    position = first
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if place.start != position:
            raise ValueError(f"{shown(name)} begins at byte {place.start:,}, expected {position:,}")
        position += place.nbytes
    if position != end:
        raise ValueError(f"it has {end:,} bytes, expected {position:,}")
    return places


def _place(name: str, entry: Mapping[str, Any], first: int) -> _Place:
    dtype, shape, offsets = SAFETENSORS_DTYPES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
    if type(shape) is not list or type(offsets) is not list:
        raise ValueError(f"{shown(name)} has no shape or place")
    begin, end = offsets
    if dtype is None:
        raise ValueError(f"{shown(name)} is of the unknown dtype {shown(entry['dtype'])}")
    if len(shape) > MAX_DIMENSIONS or not all(
        type(size) is int and 0 <= size < 1 << 62 for size in (begin, end, *shape)
    ):
        raise ValueError(f"{shown(name)} has an impossible shape or place")
    nbytes = math.prod(shape) * dtype.itemsize
    if end - begin != nbytes:
        raise ValueError(f"{shown(name)} has {end - begin:,} bytes, expected {nbytes:,}")
    return _Place(dtype, tuple(shape), first + begin, nbytes)


def _read(source: Source, name: str, place: _Place) -> Tensor:
    return bytes_at(source, place.start, place.nbytes).view(place.dtype).view(place.shape)


def _deferred(source: Source, name: str, place: _Place) -> Tensor:
    stride = contiguous_strides(place.shape)
    memory = (source.identity, name)
    return DeferredTensor(lambda: _read(source, name, place), place.dtype, place.shape, stride, memory=memory)
