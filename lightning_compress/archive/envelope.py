"""The manifest as canonical JSON with its checksum, and back; everything read is checked."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from typing import Any

from lightning_compress.archive.spec import (
    FORMAT_VERSION,
    MAX_ELEMENTS,
    Asset,
    Entry,
    Manifest,
    StreamRecord,
)
from lightning_compress.coding import CODERS
from lightning_compress.errors import ChecksumError, FormatError, VersionError
from lightning_compress.quantize import DTYPES, PAYLOADS
from lightning_compress.weights import Tie


def to_envelope(manifest: Manifest) -> str:
    """The canonical JSON that stands in the file's metadata."""
    body = _to_json(manifest)
    checksum = hashlib.sha256(canonical(body).encode()).hexdigest()
    return canonical({"manifest": body, "sha256": checksum})


def from_envelope(text: str) -> Manifest:
    """The manifest of a file, checked.

    Raises:
        FormatError: it is not what docs/format.md describes.
        ChecksumError: its bytes were changed.
        VersionError: it is of a newer format, or uses a dtype or payload this version does not know.
    """
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the manifest is not JSON: {error}") from error
    if not isinstance(envelope, dict) or set(envelope) != {"manifest", "sha256"}:
        raise FormatError("the metadata holds no manifest with its checksum")
    body = envelope["manifest"]
    if hashlib.sha256(canonical(body).encode()).hexdigest() != envelope["sha256"]:
        raise ChecksumError("the manifest does not have its checksum: the file was damaged or edited")
    version = body.get("format_version") if isinstance(body, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise VersionError(
            f"the file has format version {version}, this package reads up to {FORMAT_VERSION}: "
            "update lightning-compress"
        )
    if version != FORMAT_VERSION or type(version) is not int:
        raise FormatError(f"the manifest has format version {version!r}, expected a whole number from 1")
    return _from_json(body)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text.

    Raises:
        FormatError: what JSON cannot hold (NaN, infinity, objects) or UTF-8 cannot (half a surrogate pair).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"the manifest cannot hold this value: {error}") from error
    return text


def _to_json(manifest: Manifest) -> dict[str, Any]:
    plain = {name: getattr(manifest, name) for name in _PLAIN_FIELDS}
    return plain | {
        "entries": [_entry_to_json(entry) for entry in manifest.entries],
        "ties": {name: asdict(tie) for name, tie in manifest.ties.items()},
        "assets": [
            {"name": a.name, "bytes": a.nbytes, "stream": _stream_to_json(a.stream), "crc32": a.crc32}
            for a in manifest.assets
        ],
    }


_PLAIN_FIELDS: dict[str, type | tuple[type, ...]] = {
    "format_version": int,
    "excluded": (list, tuple),
    "class_path": (str, type(None)),
    "hyper_parameters": dict,
    "hyper_parameters_left_out": (list, tuple),
    "plan": dict,
    "metrics": dict,
    "fingerprint": str,
}


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "shape": entry.shape,
        "dtype": entry.dtype,
        "class": entry.class_name,
        "payload": entry.payload,
        "streams": [_stream_to_json(stream) for stream in entry.streams],
        "zeros": entry.zeros,
        "crc32": entry.crc32,
    }


def _stream_to_json(stream: StreamRecord) -> list[Any]:
    return [stream.name, stream.coder, stream.nbytes, stream.crc32]


def _from_json(body: Any) -> Manifest:
    _expect("manifest", body, dict, set(_PLAIN_FIELDS) | {"entries", "ties", "assets"})
    for key, kind in _PLAIN_FIELDS.items():
        _expect(key, body[key], kind)
    for key in ("excluded", "hyper_parameters_left_out"):
        for name in body[key]:
            _expect(key, name, str)
    manifest = Manifest(
        entries=tuple(_entry_from_json(entry) for entry in _expect("entries", body["entries"], list)),
        ties={name: _tie_from_json(tie) for name, tie in _expect("ties", body["ties"], dict).items()},
        excluded=tuple(body["excluded"]),
        class_path=body["class_path"],
        hyper_parameters=body["hyper_parameters"],
        hyper_parameters_left_out=tuple(body["hyper_parameters_left_out"]),
        plan=body["plan"],
        metrics=body["metrics"],
        fingerprint=body["fingerprint"],
        assets=tuple(_asset_from_json(asset) for asset in _expect("assets", body["assets"], list)),
        format_version=body["format_version"],
    )
    _check_names(manifest)
    return manifest


def _entry_from_json(body: Any) -> Entry:
    _expect("entry", body, dict, {"name", "shape", "dtype", "class", "payload", "streams", "zeros", "crc32"})
    name, payload = _expect("name", body["name"], str), _expect("payload", body["payload"], dict)
    if _expect("dtype", body["dtype"], str) not in DTYPES:
        raise VersionError(f"tensor {name!r} has dtype {body['dtype']!r}, which this torch does not know")
    if _expect("payload kind", payload.get("kind"), str) not in PAYLOADS:
        raise VersionError(
            f"tensor {name!r} has a payload of kind {payload.get('kind')!r}, this version knows {', '.join(PAYLOADS)}"
        )
    entry = Entry(
        name=name,
        shape=_sizes(f"shape of {name!r}", body["shape"]),
        dtype=body["dtype"],
        class_name=_expect("class", body["class"], str),
        payload=payload,
        streams=tuple(_stream_from_json(stream) for stream in _expect("streams", body["streams"], list)),
        zeros=_number("zeros", body["zeros"]),
        crc32=_crc(body["crc32"]),
    )
    try:
        expected = list(entry.layout())
    except TypeError as error:
        raise FormatError(f"tensor {name!r} has a parameter of a wrong type: {error}") from error
    if entry.zeros > entry.elements:
        raise FormatError(f"tensor {name!r} has {entry.elements} elements, and {entry.zeros} of them are 0")
    if [stream.name for stream in entry.streams] != expected:
        raise FormatError(f"tensor {name!r} has the streams {[s.name for s in entry.streams]}, expected {expected}")
    return entry


def _stream_from_json(body: Any) -> StreamRecord:
    if not isinstance(body, list) or len(body) != 4:
        raise FormatError(f"a stream is {body!r}, expected name, coder, bytes and checksum")
    name, coder, nbytes, crc32 = body
    if _expect("coder", coder, str) not in CODERS:
        raise VersionError(f"a stream has the coder {coder!r}, this version knows {', '.join(CODERS)}")
    return StreamRecord(_expect("stream", name, str), coder, _number("bytes", nbytes), _crc(crc32))


def _tie_from_json(body: Any) -> Tie:
    _expect("tie", body, dict, {"of", "offset", "shape", "stride"})
    shape, stride = _sizes("shape of a tie", body["shape"]), _sizes("stride of a tie", body["stride"])
    if len(shape) != len(stride):
        raise FormatError(f"a tie has {len(shape)} sizes and {len(stride)} strides")
    return Tie(_expect("of", body["of"], str), _number("offset", body["offset"]), shape, stride)


def _asset_from_json(body: Any) -> Asset:
    _expect("asset", body, dict, {"name", "bytes", "stream", "crc32"})
    name, stream = _expect("asset name", body["name"], str), _stream_from_json(body["stream"])
    if stream.name != "bytes":
        raise FormatError(f"asset {name!r} has the stream {stream.name!r}, expected 'bytes'")
    return Asset(name, _number("asset bytes", body["bytes"]), stream, _crc(body["crc32"]))


def _check_names(manifest: Manifest) -> None:
    """No name twice, and every tie inside the tensor it is a view of."""
    names = manifest.names
    keys = [key for key, _ in manifest.stream_keys()]
    if len(set(names)) != len(names) or len(set(keys)) != len(keys):
        raise FormatError("a tensor or stream name stands twice in the manifest")
    elements = {entry.name: entry.elements for entry in manifest.entries}
    for name, tie in manifest.ties.items():
        extent = tie.offset + sum(max(n - 1, 0) * s for n, s in zip(tie.shape, tie.stride, strict=True))
        if tie.of not in elements or extent >= elements[tie.of]:
            raise FormatError(f"{name!r} is tied to {tie.of!r} beyond its elements, or to no stored tensor")


def _expect(what: str, value: Any, kind: type | tuple[type, ...], keys: set[str] | None = None) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise FormatError(f"{what} in the manifest is {type(value).__name__}, expected {kind}")
    given = set(value) if isinstance(value, dict) else set()
    if keys is not None and given != keys:
        raise FormatError(f"{what} in the manifest has the keys {sorted(given)}, expected {sorted(keys)}")
    return value


def _number(what: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_ELEMENTS:
        raise FormatError(f"{what} in the manifest is {value!r}, expected a whole number")
    return value


def _sizes(what: str, value: Any) -> tuple[int, ...]:
    sizes = tuple(_number(what, size) for size in _expect(what, value, list))
    if len(sizes) > 64 or math.prod(max(size, 1) for size in sizes) > MAX_ELEMENTS:
        raise FormatError(f"{what} in the manifest is {value!r}, larger than any tensor")
    return sizes


def _crc(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 8 or set(value) - set("0123456789abcdef"):
        raise FormatError(f"a checksum in the manifest is {value!r}, expected eight hexadecimal digits")
    return value
