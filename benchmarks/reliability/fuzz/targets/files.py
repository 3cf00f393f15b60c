"""Whole files of every version: changed manifests, headers and bytes, around them valid checksums."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import zstandard

from benchmarks.reliability.fuzz import independent
from benchmarks.reliability.fuzz.independent import forge
from benchmarks.reliability.fuzz.mutation import changed_bytes, changed_json, changed_text
from benchmarks.reliability.fuzz.outcome import MAX_BYTES, Comparison, Target, same
from benchmarks.reliability.fuzz.specimens import archive
from lightning_compress.archive import Archive, reader
from lightning_compress.archive.manifest import version3, version4
from lightning_compress.archive.manifest.envelope import canonical
from lightning_compress.archive.manifest.spec import METADATA_KEY
from lightning_compress.errors import FormatError
from lightning_compress.weights import as_bytes

Json = dict[str, Any]
_FORMS = 40  # how many sound files there are
_TENSORS = 3  # in each of them


@dataclass(frozen=True, eq=False)
class Form:
    """A sound file: its version, its manifest as JSON (of versions 2 to 4 unpacked), and its body."""

    version: int
    manifest: Json
    keys: tuple[tuple[str, int], ...]
    body: bytes
    lock: str = ""  # the name of the lock; empty before version 4


def read_file(random: Random) -> Comparison:
    """A file with a changed manifest, envelope, header or body."""
    form = random.choice(_forms())
    manifest, keys, body = form.manifest, [list(key) for key in form.keys], form.body
    change = random.random()
    if change < 0.6:
        manifest = changed_json(random, manifest)
    elif change < 0.7:
        manifest, body = _changed_code(random, form)
    text = forge.canonical(manifest)
    if 0.7 < change < 0.75:
        text = changed_text(random, text)
    envelope = _envelope(random, text, form.version)
    if 0.75 < change < 0.8:
        envelope = changed_text(random, envelope)
    if 0.8 < change < 0.9:
        keys = changed_json(random, keys)
    data = _with_header(envelope, keys, body, form.lock)
    if change > 0.9:
        data = changed_bytes(random, data)
    return _read(data)


def _read(data: bytes) -> Comparison:
    manifest, coded = reader.parse(memoryview(data), "input", MAX_BYTES)
    opened = Archive(manifest, coded)
    opened.assets()
    tensors = {
        name: (tuple(t.shape), str(t.dtype).removeprefix("torch."), as_bytes(t).numpy().tobytes())
        for name, t in opened.restore().items()
    }
    return same(tensors, lambda: independent.tensors(data))


@cache
def _forms() -> tuple[Form, ...]:
    random, whole = Random(1), archive()
    return tuple(_form(random, whole, 1 + number % 4) for number in range(_FORMS))


def _form(random: Random, whole: Archive, version: int) -> Form:
    """A file of some of the tensors, with ties between them and the assets where these are among them."""
    chosen = {entry.name for entry in random.sample(whole.manifest.entries, _TENSORS)} | {"raw"}
    entries = tuple(entry for entry in whole.manifest.entries if entry.name in chosen)
    ties = {name: tie for name, tie in whole.manifest.ties.items() if tie.of in chosen}
    manifest = replace(whole.manifest, entries=entries, ties=ties)
    streams = {key: bytes(whole.streams[key]) for key, _ in manifest.parts()}
    body = b"".join(streams.values())
    packed = json.loads(canonical(version3.to_json(manifest)))
    if version > 2:
        lock = version4.records(manifest)[0].key if version == 4 else ""
        return Form(version, packed, (("#small", len(body)),), body, lock)
    if version == 2:
        return Form(2, _version2(packed), (("#small", len(body)),), body)
    # The first version holds JSON values alone.
    explicit = forge.manifest_of(Archive(replace(manifest, hyper_parameters={"size": 5}), streams))
    keys = [(f"{e['name']}#{s[0]}", s[2]) for e in explicit["entries"] for s in e["streams"]]
    keys += [(f"#{a['name']}#{a['stream'][0]}", a["stream"][2]) for a in explicit["assets"]]
    return Form(1, explicit, tuple(keys), body)


def _version2(packed: Json) -> Json:
    """Without what version 3 has added."""
    added = ("checkpoint", "checkpoint_left_out", "hparams_name", "hyper_parameters", "reasons")
    kept = {key: value for key, value in packed.items() if key not in added}
    return kept | {"entries": [row[:8] for row in packed["entries"]], "hyper_parameters": {"size": 5, "names": ["a"]}}


def _changed_code(random: Random, form: Form) -> tuple[Json, bytes]:
    """Damage in the code of one stream of the first tensor, with its checksum repaired."""
    manifest = json.loads(json.dumps(form.manifest))
    if form.version == 1:
        records = [record for entry in manifest["entries"] for record in entry["streams"]]
        number = random.randrange(len(records))
        start = sum(record[2] for record in records[:number])
        old = form.body[start : start + records[number][2]]
        new = changed_bytes(random, old)[: len(old)].ljust(len(old), b"\0")
        records[number][3] = f"{zlib.crc32(new):08x}"
    else:
        row = manifest["entries"][0]
        start, old = 0, form.body[: sum(row[5][1::2])]
        new = changed_bytes(random, old)[: len(old)].ljust(len(old), b"\0")
        row[7] = f"{zlib.crc32(new):08x}{row[7][8:]}"
    return manifest, form.body[:start] + new + form.body[start + len(old) :]


def _envelope(random: Random, text: str, version: int) -> str:
    """The envelope around a manifest; now and then its frame of Zstandard is damaged before the checksum is made."""
    if version > 1:
        frame = zstandard.ZstdCompressor(level=1).compress(text.encode("utf-8", "surrogatepass"))
        if random.random() < 0.03:
            frame = changed_bytes(random, frame)
        text = forge.canonical({"format_version": version, "zstd": base64.b85encode(frame).decode()})
    return forge.envelope_of(text)


def _with_header(envelope: str, keys: Any, body: bytes, lock: str) -> bytes:
    header: Json = {"__metadata__": {METADATA_KEY: envelope}}
    if lock:
        header[lock] = {"dtype": version4.LOCK.dtype, "shape": [0], "data_offsets": [0, 0]}
    offset: Any = 0
    for key in keys if isinstance(keys, list) else []:
        name, nbytes = key if isinstance(key, list) and len(key) == 2 else (str(key), 0)
        end = offset + nbytes if isinstance(nbytes, int) else nbytes
        header[str(name)] = {"dtype": "U8", "shape": [nbytes], "data_offsets": [offset, end]}
        offset = end if isinstance(end, int) else offset
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


TARGETS = (Target("file", 0.015, (FormatError,), read_file),)
