"""Files with sound checksums and lying content: what somebody could send, not what damage does."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lightning_compress import Half, Interval, Plan, Prune, Raw, Rule, Weights, compress
from lightning_compress.archive import Archive, reader
from lightning_compress.archive.envelope import to_envelope
from lightning_compress.archive.writer import file_parts
from lightning_compress.weights import Tie, Weight

Json = dict[str, Any]


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
    """What a reader does with a file, from its bytes."""
    Archive(*reader.parse(memoryview(data), "file")).verify()


def manifest_of(archive: Archive) -> Json:
    manifest: Json = json.loads(to_envelope(archive.manifest))["manifest"]
    return manifest


def canonical(value: Any) -> str:
    """Canonical JSON that also takes what no writer would write."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def envelope_of(manifest_text: str) -> str:
    digest = hashlib.sha256(manifest_text.encode("utf-8", "surrogatepass")).hexdigest()
    return f'{{"manifest":{manifest_text},"sha256":"{digest}"}}'


def with_header(envelope: str, keys: list[tuple[str, int]], body: bytes) -> bytes:
    """A file of this envelope and these stream names and sizes, as the writer would lay it out."""
    header: Json = {"__metadata__": {"lightning_compress": envelope}}
    offset = 0
    for key, nbytes in keys:
        header[key] = {"dtype": "U8", "shape": [nbytes], "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    return with_text(
        json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"), body
    )


def with_text(text: bytes, body: bytes) -> bytes:
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def _keys(manifest: Json) -> list[tuple[str, int]]:
    """Stream names and sizes of a manifest, as far as it has the form of one."""
    keys = []
    try:
        for entry in manifest["entries"]:
            keys += [(f"{entry['name']}#{stream[0]}", stream[2]) for stream in entry["streams"]]
        keys += [(f"#{a['name']}#{a['stream'][0]}", a["stream"][2]) for a in manifest["assets"]]
        return [(key, nbytes + 0) for key, nbytes in keys]
    except (KeyError, TypeError, IndexError):
        return []


def forged(archive: Archive, tamper: Callable[[Json], Any]) -> bytes:
    """The file with its manifest changed and signed again; its streams as they are."""
    manifest = manifest_of(archive)
    tamper(manifest)
    body = b"".join(bytes(archive.streams[key]) for key, _ in archive.manifest.stream_keys())
    return with_header(envelope_of(canonical(manifest)), _keys(manifest), body)


def forged_stream(archive: Archive, name: str, stream: str, coder: str, data: bytes, **payload: Any) -> bytes:
    """The file with one coded stream replaced, its checksum and size made to fit, and payload parameters changed."""
    manifest = manifest_of(archive)
    entry = next(entry for entry in manifest["entries"] if entry["name"] == name)
    entry["payload"] |= payload
    record = next(record for record in entry["streams"] if record[0] == stream)
    record[1:] = [coder, len(data), f"{zlib.crc32(data):08x}"]
    streams = {key: bytes(content) for key, content in archive.streams.items()} | {f"{name}#{stream}": data}
    body = b"".join(streams[key] for key, _ in archive.manifest.stream_keys())
    return with_header(envelope_of(canonical(manifest)), _keys(manifest), body)


def stored_words(values: list[int], width: int) -> bytes:
    return np.array(values, f"<u{width}").tobytes()


def by_hand(shape: list[int], dtype: str, payload: Json, streams: dict[str, tuple[str, bytes]], crc32: str) -> bytes:
    """A file of one tensor that no writer made: its streams, by name, are coder and code."""
    manifest = manifest_of(sound())
    records = [[name, coder, len(data), f"{zlib.crc32(data):08x}"] for name, (coder, data) in streams.items()]
    entry = {"name": "weight", "class": "other", "shape": shape, "dtype": dtype, "payload": payload}
    manifest |= {"entries": [entry | {"streams": records, "zeros": 0, "crc32": crc32}], "ties": {}, "assets": []}
    body = b"".join(data for _, data in streams.values())
    return with_header(envelope_of(canonical(manifest)), _keys(manifest), body)
