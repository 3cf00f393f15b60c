"""Targets inside a file: one coded stream, and one tensor with its entry in the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import numpy as np

from benchmarks.reliability.fuzz import independent
from benchmarks.reliability.fuzz.mutation import changed_bytes, changed_json
from benchmarks.reliability.fuzz.outcome import MAX_BYTES, Comparison, Target, same
from benchmarks.reliability.fuzz.specimens import Specimen, codes, specimens
from lightning_compress.archive import Entry, encode
from lightning_compress.archive.crc import checksum
from lightning_compress.archive.limits import check_limits
from lightning_compress.archive.manifest import version3
from lightning_compress.coding import CODERS, Statistics, decode
from lightning_compress.errors import FormatError
from lightning_compress.quantize import PAYLOADS
from lightning_compress.weights import as_bytes

_FAST = ("stored", "packed", "zstd", "huffman")
_LARGE = 300
Words = np.ndarray[Any, Any]
Coded = list[tuple[str, bytes]]  # coder and code of each stream


def read_stream(random: Random) -> Comparison:
    """A coded stream with changed bytes, another coder, another length or other groups."""
    code = random.choice(codes())
    data, coder, count, width, groups = code.data, code.coder, code.count, code.width, code.groups
    change = random.random()
    if change < 0.75:
        data = changed_bytes(random, data)
    if change > 0.7:
        count = max(0, random.choice((count - 1, count + 1, 2 * count, 1, 0, random.randrange(2 * count + 2))))
        groups = () if sum(groups) != count else groups
    if change > 0.9:
        coder = random.choice([*CODERS])
    if change > 0.95:
        width = random.choice((1, 2, 4, 8))
    if groups and random.random() < 0.1:
        groups = tuple(random.sample(groups, len(groups)))
    words = decode(coder, memoryview(data), count, width, groups)
    return same(words.tobytes(), lambda: independent.words(coder, data, count, width, groups))


def read_tensor(random: Random) -> Comparison:
    """A tensor with changed parameters, shape, dtype or words; checksums and the number of zeros are repaired."""
    specimen = random.choice(specimens())
    shape, dtype, payload, words = list(specimen.shape), specimen.dtype, dict(specimen.payload), dict(specimen.words)
    change = random.random()
    if change < 0.45:
        payload = changed_json(random, payload)
    if 0.4 < change < 0.5:
        shape = changed_json(random, shape)
    if 0.5 < change < 0.53:
        dtype = random.choice(specimens()).dtype
    if change > 0.45 and words:
        stream = random.choice([*words])
        words[stream] = _other_words(random, words[stream])
    return _read(specimen.name, shape, dtype, payload, _coded(random, specimen, words))


def _read(name: str, shape: Any, dtype: str, payload: Any, coded: Coded) -> Comparison:
    body = b"".join(code for _, code in coded)
    streams = [value for number, (_, code) in enumerate(coded) for value in (number, len(code))]
    row = [name, shape, 0, 0, payload, streams, 0, checksum(body) + "00000000"]
    lists = {"classes": ["other"], "coders": [coder for coder, _ in coded], "dtypes": [dtype]}
    manifest = version3.from_json(lists | {"entries": [row]})
    check_limits(manifest, len(json.dumps(row)) + len(body), "input", MAX_BYTES)
    (entry,) = manifest.entries
    if entry.coded_bytes != len(body):
        raise FormatError("the streams have other sizes")  # as the reader of a file finds
    restored = encode.decode_tensor(_repaired(entry, memoryview(body)), memoryview(body))
    names = [record.name for record in entry.streams]
    streams_by_name = dict(zip(names, coded, strict=True))
    return same(
        as_bytes(restored).numpy().tobytes(),
        lambda: independent.tensor(dict(entry.payload), shape, dtype, streams_by_name),
    )


def _repaired(entry: Entry, body: memoryview) -> Entry:
    """The entry with the checksum and the number of zeros that its streams restore to."""
    words = encode.decode_streams(entry, body, [record.name for record in entry.streams])
    try:
        restored = PAYLOADS[entry.kind].from_streams(entry.payload, entry.shape, entry.torch_dtype, words).restore()
    except NotImplementedError:
        return entry
    crc32, zeros = encode._crc32_and_zeros(restored)
    return replace(entry, crc32=crc32, zeros=zeros)


def _other_words(random: Random, words: Words) -> Words:
    """Some words changed to values near and far; now and then the stream becomes longer or shorter."""
    result = words.copy()
    most = 2 ** (8 * words.itemsize) - 1
    for _ in range(random.choice((1, 1, 2, 5))):
        place = random.randrange(len(result))
        near = int(result[place]) + random.choice((-1, 1, 2, 7))
        value = random.choice((near, near, 0, 1, most, most // 2, int(words.max()) + 1))
        result[place] = min(max(value, 0), most)
    if random.random() < 0.1:
        return np.resize(result, max(1, random.choice((1, len(result) - 1, len(result) + 1, 2 * len(result)))))
    return result


def _coded(random: Random, specimen: Specimen, words: Mapping[str, Words]) -> Coded:
    """The streams, each by a coder that applies to it; now and then damaged, or under the name of another coder."""
    coded = []
    for stream, values in words.items():
        if values is specimen.words[stream]:
            known = _known_codes(specimen, stream)
            name = random.choice([*known])
            code = known[name]
        else:
            groups = specimen.groups[stream]
            statistics = Statistics(values, groups if sum(groups) == len(values) else ())
            name = random.choice(_able(statistics))
            code = CODERS[name].encode(statistics)
        if random.random() < 0.04:
            code = changed_bytes(random, code)
        coded.append((name if random.random() < 0.98 else random.choice([*CODERS]), code))
    return coded


@cache
def _known_codes(specimen: Specimen, stream: str) -> Mapping[str, bytes]:
    """The code of a sound stream by each coder that applies to it."""
    statistics = Statistics(specimen.words[stream], specimen.groups[stream])
    return {name: CODERS[name].encode(statistics) for name in _able(statistics)}


def _able(statistics: Statistics) -> list[str]:
    """The coders that apply to a stream; without those whose large tables would take most of the time."""
    able = [name for name, coder in CODERS.items() if coder.lower_bound(statistics) is not None]
    return [name for name in able if name in _FAST or statistics.largest < _LARGE]


TARGETS = (
    Target("stream", 0.68, (FormatError,), read_stream),
    Target("tensor", 0.03, (FormatError,), read_tensor),
)
