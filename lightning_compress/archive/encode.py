"""Encodes payloads to coded streams and decodes them again, one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress import coding
from lightning_compress.archive.crc import checksum, crc32
from lightning_compress.archive.manifest.spec import Asset, Entry, StreamRecord
from lightning_compress.errors import ChecksumError, FormatError, VersionError
from lightning_compress.quantize import DTYPES, PAYLOADS, Payload, RawPayload, StreamSpec, Words
from lightning_compress.weights import byte_array

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_CHUNK = 1 << 20  # bytes
_SHORT = 1 << 16  # words
_StreamKey = tuple[bytes, int, tuple[int, ...]]  # words, their width, and their groups
_Coded = dict[str, tuple[str, bytes]]  # stream → coder and code
# Types smaller than a byte: torch saves them but has no arithmetic for them.
_WITHOUT_ARITHMETIC = {"float4_e2m1fn_x2", *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8))}


def encode_tensor(
    name: str, class_name: str, payload: Payload, restored: Tensor | None = None, others: Iterable[Payload] = ()
) -> tuple[Entry, bytes]:
    """Encode one tensor.

    If the streams would be larger than the raw tensor, the restored values are stored raw instead, so the values that
    are read back do not depend on the coded size.

    Args:
        name: of the tensor.
        class_name: its class.
        payload: of the tensor.
        restored: what it restores to, where that is known already.
        others: payloads that restore to the same. Of all, the one that takes the fewest bytes is coded.

    Returns:
        The entry, and its coded streams, concatenated.
    """
    restored = payload.restore() if restored is None else restored
    known: dict[_StreamKey, tuple[str, bytes]] = {}
    forms = (_encode_form(form, restored, known) for form in chain((payload,), others))
    form, coded = min(forms, key=lambda each: _nbytes(each[1]) + len(json.dumps(_description(each[0]))))
    body = b"".join(data for _, data in coded.values())
    crc, zeros = _crc32_and_zeros(restored)
    entry = Entry(
        name=name,
        shape=tuple(restored.shape),
        dtype=_DTYPE_NAMES[restored.dtype],
        class_name=class_name,
        payload=_description(form),
        streams=tuple(StreamRecord(stream, coder, len(data)) for stream, (coder, data) in coded.items()),
        zeros=zeros,
        coded_crc32=checksum(body),
        crc32=crc,
    )
    return entry, body


def decode_tensor(entry: Entry, body: memoryview) -> Tensor:
    """Decode the tensor of one entry from its concatenated streams, and check both checksums.

    Raises:
        FormatError: the streams do not decode to what the entry describes.
        ChecksumError: coded or restored bytes differ from their checksum.
        VersionError: this torch cannot restore the dtype from such a payload.
    """
    words = decode_streams(entry, body, [record.name for record in entry.streams])
    try:
        payload = PAYLOADS[entry.kind].from_streams(entry.payload, entry.shape, entry.torch_dtype, words)
        restored = payload.restore()
    except NotImplementedError as error:
        raise VersionError(f"tensor {entry.name!r}: this torch restores no {entry.dtype} from {entry.kind}") from error
    if _description(payload) != entry.payload:
        raise FormatError(f"tensor {entry.name!r} has parameters that no {payload.kind} payload has: {entry.payload}")
    crc, zeros = _crc32_and_zeros(restored)
    if crc != entry.crc32:
        raise ChecksumError(f"tensor {entry.name!r} does not restore to the values it was made from")
    if zeros != entry.zeros:
        raise FormatError(f"tensor {entry.name!r} has {zeros} zeros, and the manifest says {entry.zeros}")
    return restored


def decode_streams(entry: Entry, body: memoryview, names: Container[str]) -> dict[str, Words]:
    """Decode the named streams of one entry from its concatenated streams, and check the checksum of the latter.

    Raises:
        FormatError, ChecksumError: as for :func:`decode_tensor`.
    """
    _check_coded(f"tensor {entry.name!r}", body, entry.coded_crc32)
    specs, words, start = entry.layout(), {}, 0
    for record in entry.streams:
        if record.name in names:
            data = body[start : start + record.nbytes]
            words[record.name] = _decode_stream(entry.name, record, data, specs[record.name])
        start += record.nbytes
    return words


def encode_asset(name: str, content: bytes) -> tuple[Asset, bytes]:
    """Encode one attached file."""
    coder, data = coding.encode(np.frombuffer(content, np.uint8)) if content else ("stored", b"")
    return Asset(name, len(content), StreamRecord("bytes", coder, len(data)), checksum(data), checksum(content)), data


def decode_asset(asset: Asset, data: memoryview) -> bytes:
    """Decode one attached file, and check its checksum.

    Raises:
        FormatError, ChecksumError: as for :func:`decode_tensor`.
    """
    _check_coded(f"asset {asset.name!r}", data, asset.coded_crc32)
    content = _decode_stream(asset.name, asset.stream, data, StreamSpec(asset.nbytes, 1)).tobytes()
    if checksum(content) != asset.crc32:
        raise ChecksumError(f"asset {asset.name!r} does not have its checksum")
    return content


def _encode_form(
    payload: Payload, restored: Tensor, known: dict[_StreamKey, tuple[str, bytes]]
) -> tuple[Payload, _Coded]:
    """A payload with its coded streams; the restored values instead, where these take fewer bytes."""
    coded = _encode_streams(payload, restored, known)
    if _nbytes(coded) <= restored.numel() * restored.element_size():
        return payload, coded
    raw = RawPayload(restored)
    return raw, _encode_streams(raw, restored, known)


def _encode_streams(payload: Payload, restored: Tensor, known: dict[_StreamKey, tuple[str, bytes]]) -> _Coded:
    """Coder and code of each stream; short streams that several payloads of a tensor have in common are coded once."""
    specs = payload.layout(payload.parameters(), restored.numel(), restored.dtype)
    coded = {}
    for name, words in payload.streams().items():
        groups = specs[name].groups
        if len(words) > _SHORT:
            coded[name] = coding.encode(words, groups)
            continue
        key = words.tobytes(), words.itemsize, groups
        if key not in known:
            known[key] = coding.encode(words, groups)
        coded[name] = known[key]
    return coded


def _nbytes(coded: _Coded) -> int:
    return sum(len(data) for _, data in coded.values())


def _description(payload: Payload) -> dict[str, Any]:
    """What the manifest says of a payload."""
    return {"kind": payload.kind, **payload.parameters()}


def _check_coded(owner: str, data: memoryview, expected: str) -> None:
    if checksum(data) != expected:
        raise ChecksumError(f"coded {owner} does not have its checksum: the file is damaged")


def _decode_stream(owner: str, record: StreamRecord, data: memoryview, spec: StreamSpec) -> Words:
    try:
        return coding.decode(record.coder, data, spec.count, spec.width, spec.groups)
    except FormatError as error:
        raise type(error)(f"stream {record.name!r} of {owner!r}: {error}") from error


def _crc32_and_zeros(restored: Tensor) -> tuple[str, int]:
    """Checksum of the bytes of a tensor, and how many of its elements are 0, in one pass; −0 counts.

    Elements of types without arithmetic are 0 if their bytes are.
    """
    dtype, data, crc, zeros = restored.dtype, byte_array(restored), 0, 0
    plain = dtype.is_complex or _DTYPE_NAMES[dtype] in _WITHOUT_ARITHMETIC
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        crc = crc32(chunk.data, crc)
        zeros += _zeros_of_bytes(chunk, dtype) if plain else int(np.count_nonzero(_comparable(chunk, dtype) == 0))
    return f"{crc:08x}", zeros


def _zeros_of_bytes(data: NDArray[np.uint8], dtype: torch.dtype) -> int:
    """How many elements are 0 among complex ones, or those of types without arithmetic."""
    if dtype.is_complex:
        return int((torch.from_numpy(data).view(dtype.to_real()).reshape(-1, 2) == 0).all(1).sum())
    return int(np.count_nonzero(data == 0))


def _comparable(data: NDArray[np.uint8], dtype: torch.dtype) -> NDArray[Any]:
    """The elements as numbers that NumPy compares, which does not know all narrow types."""
    values = torch.from_numpy(data).view(dtype)
    return (values.float() if dtype.is_floating_point and dtype.itemsize < 4 else values).numpy()
