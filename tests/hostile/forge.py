"""Forged files: valid checksums around false content, as an attacker could send, not as damage produces."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch
import zstandard

from lightning_compress import Half, Interval, Plan, Prune, Raw, Rule, Weights, compress
from lightning_compress.archive import Archive, Manifest, reader
from lightning_compress.archive.writer import file_parts
from lightning_compress.weights import Tie, Weight

Json = dict[str, Any]
LOCK = "raw"  # the largest small tensor of the sound archive


@cache
def sound() -> Archive:
    """A small archive with every payload, a tie and an asset; entries in the order raw, half, indexed."""
    steps = torch.arange(40, dtype=torch.float32)
    half = steps.sub(20).mul(0.37)
    half[5], half[20] = float("nan"), float("inf")
    stored = Weights(
        weights=(
            Weight("raw", steps.to(torch.int32).reshape(8, 5), "other"),
            Weight("half", half, "other"),
            Weight("indexed", half.mul(steps.sin()).reshape(5, 8), "other"),
        ),
        ties={"tied": Tie("raw", 5, (2, 5), (5, 1))},
        excluded=("loss",),
        class_path="models.Model",
        hyper_parameters={"size": 5},
        assets={"words": b"one\ntwo\n" * 4},
    )
    plan = Plan(Rule("half", Half()), Rule("indexed", Prune(0.2), Interval(3, 0.9), Half()), Rule("raw", Raw()))
    return compress(stored, plan)


def file_of(archive: Archive) -> bytes:
    return b"".join(map(bytes, file_parts(archive.manifest, archive.streams)))


def open_and_verify(data: bytes) -> None:
    """Open and verify a file, given its bytes."""
    Archive(*reader.parse(memoryview(data), "file")).verify()


def codes_of(archive: Archive) -> dict[tuple[str, str], bytes]:
    """(tensor, stream) → coded bytes of the stream; an asset has the key (``#``, its name)."""
    codes = {}
    for entry in archive.manifest.entries:
        start = 0
        for stream in entry.streams:
            codes[entry.name, stream.name] = bytes(archive.streams[entry.key][start : start + stream.nbytes])
            start += stream.nbytes
    return codes | {("#", asset.name): bytes(archive.streams[asset.key]) for asset in archive.manifest.assets}


def manifest_of(archive: Archive) -> Json:
    """The manifest in the form of version 1, which states every value; tests tamper with this form."""
    manifest, codes = archive.manifest, codes_of(archive)
    entries = [
        {
            "name": entry.name,
            "shape": list(entry.shape),
            "dtype": entry.dtype,
            "class": entry.class_name,
            "payload": dict(entry.payload),
            "streams": [record(stream.name, stream.coder, codes[entry.name, stream.name]) for stream in entry.streams],
            "zeros": entry.zeros,
            "crc32": entry.crc32,
        }
        for entry in manifest.entries
    ]
    assets = [
        {
            "name": asset.name,
            "bytes": asset.nbytes,
            "stream": record("bytes", asset.stream.coder, codes["#", asset.name]),
            "crc32": asset.crc32,
        }
        for asset in manifest.assets
    ]
    spelled: Json = json.loads(
        canonical({"entries": entries, "assets": assets} | {k: plain(manifest, k) for k in PLAIN})
    )
    return spelled | {"format_version": 1}


PLAIN = ("ties", "excluded", "class_path", "hyper_parameters", "hyper_parameters_left_out", "plan", "metrics")
PLAIN += ("fingerprint",)


def plain(manifest: Manifest, key: str) -> Any:
    value = getattr(manifest, key)
    return {name: asdict(tie) for name, tie in value.items()} if key == "ties" else value


def record(stream: str, coder: str, code: bytes) -> list[Any]:
    return [stream, coder, len(code), f"{zlib.crc32(code):08x}"]


def packed(archive: Archive) -> Json:
    """The manifest in the form of version 4."""
    return packed_manifest(manifest_of(archive), _by_owner(codes_of(archive)), 4)


def _by_owner(codes: dict[tuple[str, str], bytes]) -> dict[str, bytes]:
    """Tensor or asset → its coded bytes."""
    coded: dict[str, bytes] = {}
    for (owner, stream), code in codes.items():
        name = stream if owner == "#" else owner
        coded[name] = coded.get(name, b"") + code
    return coded


def packed_manifest(manifest: Json, coded: dict[str, bytes], version: int) -> Json:
    """The manifest in the form of versions 2 to 4; malformed parts are copied. ``coded``: tensor or asset → bytes."""
    result: Json = {"classes": [], "coders": [], "dtypes": []}
    defaults: Json = {"ties": {}, "excluded": [], "class_path": None, "hyper_parameters": {}, "fingerprint": ""}
    defaults |= {"hyper_parameters_left_out": [], "plan": {}, "metrics": {}, "assets": []}
    result |= {k: v for k, v in manifest.items() if k not in defaults or canonical(v) != canonical(defaults[k])}
    result.pop("format_version", None)
    values = result.get("hyper_parameters")
    if version > 2 and isinstance(values, dict):
        result["hyper_parameters"] = json.dumps(values, separators=(",", ":"), ensure_ascii=False)

    def number(key: str, name: Any) -> Any:
        if not isinstance(name, str):
            return name
        if name not in result[key]:
            result[key].append(name)
        return result[key].index(name)

    def checksums(name: Any, crc32: Any) -> Any:
        of = zlib.crc32(coded.get(name, b"")) if isinstance(name, str) else 0
        return f"{of:08x}{crc32}" if isinstance(crc32, str) else crc32

    def row(entry: Any) -> Any:
        try:
            name, shape, dtype, class_name, payload, streams, zeros, crc32 = (entry[key] for key in ENTRY)
            assert len(entry) == len(ENTRY)
        except (AssertionError, KeyError, TypeError):
            return entry
        try:
            flat = [value for _, coder, nbytes, _ in streams for value in (number("coders", coder), nbytes)]
        except (TypeError, ValueError):
            flat = streams
        numbers = number("dtypes", dtype), number("classes", class_name)
        return [name, shape, *numbers, payload, flat, zeros, checksums(name, crc32)]

    def asset(entry: Any) -> Any:
        try:
            _, coder, nbytes, _ = entry["stream"]
            row = [entry["name"], entry["bytes"], coder, nbytes, checksums(entry["name"], entry["crc32"])]
        except (KeyError, TypeError, ValueError):
            return entry
        return row

    for key, convert in (("entries", row), ("assets", asset)):
        if isinstance(result.get(key), list):
            result[key] = [convert(entry) for entry in result[key]]
    return result


ENTRY = ("name", "shape", "dtype", "class", "payload", "streams", "zeros", "crc32")


def canonical(value: Any) -> str:
    """Canonical JSON, which also accepts values that a writer would refuse."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def envelope_of(manifest_text: str) -> str:
    digest = hashlib.sha256(manifest_text.encode("utf-8", "surrogatepass")).hexdigest()
    return f'{{"manifest":{manifest_text},"sha256":"{digest}"}}'


def packed_envelope(text: str | bytes, frame: bytes | None = None, version: Any = 4, level: int = 19) -> str:
    """An envelope of versions 2 to 4 around a manifest text, or around a frame; the writer compresses at level 19."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    frame = zstandard.ZstdCompressor(level=level).compress(content) if frame is None else frame
    return envelope_of(canonical({"format_version": version, "zstd": base64.b85encode(frame).decode()}))


def with_header(
    envelope: str, keys: list[tuple[str, int]], body: bytes, dimensions: dict[str, int] | None = None, lock: str = LOCK
) -> bytes:
    """A file with this envelope and these stream names and sizes, in the layout of the writer.

    For version 4: the dimensions of large tensors, two unless given, and the name of the lock.
    """
    header: Json = {"__metadata__": {"lightning_compress": envelope}}
    is_locked = '"format_version":4' in envelope
    if is_locked:
        header[lock] = {"dtype": "F6_E2M3", "shape": [0], "data_offsets": [0, 0]}
    offset = 0
    for key, nbytes in keys:
        is_tensor = not key.startswith("#") or key.startswith("##")
        ones = [1] * (1 + ((dimensions or {}).get(key, 2) == 2)) if is_locked and is_tensor else []
        header[key] = {"dtype": "U8", "shape": [*ones, nbytes], "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    return with_text(
        json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"), body
    )


def with_text(text: bytes, body: bytes) -> bytes:
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def keys_of(manifest: Json) -> list[tuple[str, int]]:
    """Names and sizes of the parts in version 1; empty if the manifest has a wrong form."""
    keys = []
    try:
        for entry in manifest["entries"]:
            keys += [(f"{entry['name']}#{stream[0]}", stream[2]) for stream in entry["streams"]]
        keys += [(f"#{a['name']}#{a['stream'][0]}", a["stream"][2]) for a in manifest["assets"]]
        return [(key, nbytes + 0) for key, nbytes in keys]
    except (KeyError, TypeError, IndexError):
        return []


def file_with(manifest: Json, codes: dict[tuple[str, str], bytes], version: int) -> bytes:
    """A file with this manifest, its valid checksum, and these coded streams."""
    if version == 1:
        return with_header(envelope_of(canonical(manifest)), keys_of(manifest), b"".join(codes.values()))
    coded, number = _by_owner(codes), manifest.get("format_version")
    large = [(name, code) for name, code in coded.items() if len(code) >= 1 << 16]
    small = b"".join(code for code in coded.values() if len(code) < 1 << 16)
    parts = [*large, ("#small", small)] if small else large
    text = canonical(packed_manifest(manifest, coded, version))
    envelope = packed_envelope(text, version=version if type(number) is int and number == 1 else number)
    keys, body = [(name, len(code)) for name, code in parts], b"".join(code for _, code in parts)
    return with_header(envelope, keys, body, *_dimensions_and_lock(manifest, dict(large)))


def _dimensions_and_lock(manifest: Json, large: dict[str, bytes]) -> tuple[dict[str, int], str]:
    """The dimensions of each tensor, and the name of the largest small one; malformed parts count for nothing."""
    try:
        elements = {entry["name"]: math.prod(entry["shape"]) for entry in manifest["entries"]}
        dimensions = {entry["name"]: len(entry["shape"]) for entry in manifest["entries"]}
        lock = max((name for name in elements if name not in large), key=elements.__getitem__, default="#lock")
        is_reserved = (lock.startswith("#") and lock != "#lock") or lock == "__metadata__"
    except (KeyError, TypeError, AttributeError):
        return {}, LOCK
    return dimensions, f"##{lock}" if is_reserved else lock


def forged(archive: Archive, tamper: Callable[[Json], Any], version: int = 4) -> bytes:
    """The file with a changed manifest and its valid checksum; the streams are unchanged."""
    manifest = manifest_of(archive)
    tamper(manifest)
    return file_with(manifest, codes_of(archive), version)


def forged_stream(
    archive: Archive, name: str, stream: str, coder: str, data: bytes, version: int = 4, **payload: Any
) -> bytes:
    """The file with one coded stream replaced, with matching checksum and size, and with changed payload parameters."""
    manifest = manifest_of(archive)
    entry = next(entry for entry in manifest["entries"] if entry["name"] == name)
    entry["payload"] |= payload
    place = next(k for k, known in enumerate(entry["streams"]) if known[0] == stream)
    entry["streams"][place] = record(stream, coder, data)
    return file_with(manifest, codes_of(archive) | {(name, stream): data}, version)


def stored_words(values: list[int], width: int) -> bytes:
    return np.array(values, f"<u{width}").tobytes()


def by_hand(
    shape: list[int], dtype: str, payload: Json, streams: dict[str, tuple[str, bytes]], crc32: str, zeros: int = 0
) -> bytes:
    """A file of one tensor, made without the writer; ``streams``: name → coder and coded bytes."""
    manifest = manifest_of(sound())
    records = [record(name, coder, data) for name, (coder, data) in streams.items()]
    entry = {"name": "weight", "class": "other", "shape": shape, "dtype": dtype, "payload": payload}
    manifest |= {"entries": [entry | {"streams": records, "zeros": zeros, "crc32": crc32}], "ties": {}, "assets": []}
    return file_with(manifest, {("weight", name): data for name, (_, data) in streams.items()}, 4)
