"""Reads format version 1, which is no longer written: a manifest in plain JSON, and one U8 tensor per stream."""

from __future__ import annotations

from typing import Any

from lightning_compress.archive.crc import joined
from lightning_compress.archive.manifest import fields
from lightning_compress.archive.manifest.spec import Asset, Entry, Manifest, Part, StreamRecord
from lightning_compress.errors import FormatError

_KEYS = {"entries", "ties", "excluded", "class_path", "hyper_parameters", "hyper_parameters_left_out", "plan"}
_KEYS |= {"metrics", "fingerprint", "assets", "format_version"}


def from_json(body: object) -> Manifest:
    """Parse and check the manifest; the checksums of a tensor's streams are combined into that of all its coded bytes.

    Raises:
        FormatError: it is not what docs/format.md describes.
        VersionError: it uses a dtype, payload or coder that this version does not know.
    """
    return fields.manifest_of(fields.expect("manifest", body, dict, _KEYS), 1, _entry, _asset)


def records(manifest: Manifest) -> list[Part]:
    """Every tensor of the safetensors file: one per stream, in the order of the coded bytes."""
    found = [(f"{e.name}#{stream.name}", stream.nbytes) for e in manifest.entries for stream in e.streams]
    found += [(f"#{asset.name}#bytes", asset.stream.nbytes) for asset in manifest.assets]
    return [Part(key, nbytes, (nbytes,)) for key, nbytes in found]


def _entry(body: Any) -> Entry:  # Any: JSON, which the checks below narrow
    keys = {"name", "shape", "dtype", "class", "payload", "streams", "zeros", "crc32"}
    name = fields.expect("name", fields.expect("entry", body, dict, keys)["name"], str)
    streams = [_stream(stream) for stream in fields.expect("streams", body["streams"], list)]
    shape, dtype = fields.sizes(f"shape of {name!r}", body["shape"]), fields.dtype(name, body["dtype"])
    payload = fields.payload(name, body["payload"])
    expected = fields.stream_names(name, payload, shape, dtype)
    if [stream.name for stream, _ in streams] != expected:
        raise FormatError(f"tensor {name!r} has the streams {[s.name for s, _ in streams]}, expected {expected}")
    entry = Entry(
        name=name,
        shape=shape,
        dtype=dtype,
        class_name=fields.expect("class", body["class"], str),
        payload=payload,
        streams=tuple(stream for stream, _ in streams),
        zeros=fields.number("zeros", body["zeros"]),
        coded_crc32=joined((crc32, stream.nbytes) for stream, crc32 in streams),
        crc32=fields.crc(body["crc32"]),
    )
    return fields.check_zeros(entry)


def _stream(body: object) -> tuple[StreamRecord, str]:
    """A stream and its checksum."""
    if not isinstance(body, list) or len(body) != 4:
        raise FormatError(f"a stream is {body!r}, expected name, coder, bytes and checksum")
    name, coder, nbytes, crc32 = body
    record = StreamRecord(fields.expect("stream", name, str), fields.coder(coder), fields.number("bytes", nbytes))
    return record, fields.crc(crc32)


def _asset(body: Any) -> Asset:  # Any: likewise
    fields.expect("asset", body, dict, {"name", "bytes", "stream", "crc32"})
    name, (stream, coded_crc32) = fields.expect("asset name", body["name"], str), _stream(body["stream"])
    if stream.name != "bytes":
        raise FormatError(f"asset {name!r} has the stream {stream.name!r}, expected 'bytes'")
    return Asset(name, fields.number("asset bytes", body["bytes"]), stream, coded_crc32, fields.crc(body["crc32"]))
