"""A second reader, written from docs/format.md alone: the standard library, numpy, and zstandard for RFC 8878.

It shares nothing with the package: its entropy decoder is the arithmetic of the specification, one symbol at a time.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from reference_methods import codebook, factored, inner, sparse

_BITS = {"bool": 8, "bfloat16": 16, "float4_e2m1fn_x2": 8}
_PLANE_CODERS = {0: "stored", 1: "packed", 2: "zstd", 3: "huffman", 4: "ans"}


@dataclass(frozen=True)
class File:
    """What a file restores to: tensors as shape, dtype name and row-major bytes; assets by name."""

    manifest: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], str, bytes]]
    assets: dict[str, bytes]


def read(path: Path) -> File:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    envelope = header.pop("__metadata__")["lightning_compress"]
    text, checksum = envelope.removeprefix('{"manifest":').removesuffix('"}').split(',"sha256":"')
    assert hashlib.sha256(text.encode()).hexdigest() == checksum
    manifest = json.loads(text)
    assert manifest["format_version"] == 1

    end = 0
    for stream in header.values():
        start, stop = stream["data_offsets"]
        assert (start, stop - start, stream["dtype"]) == (end, *stream["shape"], "U8")
        end = stop
    assert end == len(body)

    def stream_of(owner: str, record: list[Any]) -> bytes:
        start, stop = header[f"{owner}#{record[0]}"]["data_offsets"]
        coded = body[start:stop]
        assert (len(coded), f"{zlib.crc32(coded):08x}") == (record[2], record[3])
        return coded

    tensors = {}
    for entry in manifest["entries"]:
        coded = {record[0]: (record[1], stream_of(entry["name"], record)) for record in entry["streams"]}
        values = _restore(entry["payload"], int(np.prod(entry["shape"], dtype=np.int64)), entry["dtype"], coded)
        assert f"{zlib.crc32(values):08x}" == entry["crc32"]
        tensors[entry["name"]] = (tuple(entry["shape"]), entry["dtype"], values)
    for name, tie in manifest["ties"].items():
        _, dtype, values = tensors[tie["of"]]
        size = _size(dtype)
        items = np.frombuffer(values, f"V{size}")[tie["offset"] :]
        view = np.lib.stride_tricks.as_strided(items, tie["shape"], [size * step for step in tie["stride"]])
        tensors[name] = (tuple(tie["shape"]), dtype, view.tobytes())
    assets = {}
    for asset in manifest["assets"]:
        record = asset["stream"]
        content = decode(record[1], stream_of(f"#{asset['name']}", record), asset["bytes"], 1).tobytes()
        assert f"{zlib.crc32(content):08x}" == asset["crc32"]
        assets[asset["name"]] = content
    return File(manifest, tensors, assets)


def _size(dtype: str) -> int:
    """Bytes of an element: the number in its name tells the bits."""
    digits = "".join(c for c in dtype.split("_")[0] if c.isdigit())
    return max(_BITS.get(dtype, int(digits or 8)) // 8, 1)


def _restore(payload: dict[str, Any], n: int, dtype: str, coded: dict[str, tuple[str, bytes]]) -> bytes:
    size = _size(dtype)

    def words(name: str, count: int, width: int) -> np.ndarray:
        return decode(*coded[name], count, width) if count else np.empty(0, f"<u{width}")

    if payload["kind"] == "raw":
        return words("values", n * size // min(size, 8), min(size, 8)).tobytes()
    if payload["kind"] == "half":
        halves = words("values", n, 2)
        if payload["format"] == "bfloat16":
            values = (halves.astype("<u4") << 16).view("<f4").astype(f"<f{size}")
        else:
            values = halves.view("<f2").astype(f"<f{size}")
        gaps = words("escape_gaps", payload["escapes"], 8)
        bits = values.view(f"<u{size}")
        bits[np.cumsum(gaps.astype(np.int64) + 1) - 1] = words("escape_values", payload["escapes"], size)
        return bits.tobytes()
    if payload["kind"] == "codebook":
        stored = _restore(payload["outliers"], payload["outliers"]["count"], dtype, inner(coded, "outlier_"))
        return codebook(payload, n, size, dtype, words, stored, _round)
    if payload["kind"] == "sparse":
        return sparse(
            payload, n, size, words, _restore(payload["values"], payload["count"], dtype, inner(coded, "value_"))
        )
    if payload["kind"] == "factored":
        return factored(payload, n, size, dtype, coded, _restore, _round)
    assert payload["kind"] == "indexed"
    levels, outliers = payload["levels"], payload["outliers"]
    index = words("indices", n, 1 if levels + 1 < 2**8 else 2 if levels + 1 < 2**16 else 4)
    stored = np.frombuffer(_restore(outliers, outliers["count"], dtype, inner(coded, "outlier_")), f"<u{size}")
    grid = payload["first"] + payload["step"] * np.arange(levels, dtype=np.float64)
    table = np.concatenate([_round(grid, dtype), np.zeros(2, f"<u{size}")])
    bits = table[index]
    assert index.max(initial=0) <= levels + 1
    assert np.count_nonzero(index == levels + 1) == len(stored)
    bits[index == levels + 1] = stored
    return bits.tobytes()


def _round(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 values rounded to a dtype, to nearest even; to those of 16 bits by way of float32."""
    if dtype == "float64":
        return values.view("<u8")
    single = values.astype("<f4")
    if dtype == "float32":
        return single.view("<u4")
    if dtype == "float16":
        return single.astype("<f2").view("<u2")
    bits = single.view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def decode(coder: str, data: bytes, n: int, width: int) -> np.ndarray:
    if coder == "planes":
        rotated, data = data[0], data[1:]
        planes = []
        for _ in range(width):
            length, rest = _leb128(data[1:])
            planes.append(decode(_PLANE_CODERS[data[0]], rest[:length], n, 1))
            data = rest[length:]
        assert not data
        words = np.stack(planes, axis=1).view(f"<u{width}").reshape(-1)
        return (words >> 1) | (words << (8 * width - 1)) if rotated else words
    if coder == "packed":
        return np.array(_unpack(data, n), f"<u{width}")
    if coder == "ans":
        return np.array(_ans(data, n), f"<u{width}")
    if coder == "huffman":
        data = zlib.decompress(data, -15)
    elif coder == "zstd":
        data = zstandard.ZstdDecompressor().decompress(data)
    assert len(data) == n * width
    return np.frombuffer(data, f"<u{width}")


def _leb128(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for position, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[position + 1 :]
    raise AssertionError("a number does not end")


def _unpack(data: bytes, n: int) -> list[int]:
    planes, rest = divmod(data[0], 8)
    words = [sum(data[1 + k * n + i] << (8 * k) for k in range(planes)) for i in range(n)]
    top = data[1 + planes * n :]
    for i in range(n if rest else 0):
        group = int.from_bytes(top[i // 8 * rest : (i // 8 + 1) * rest], "little")
        words[i] |= (group >> (i % 8 * rest) & (1 << rest) - 1) << (8 * planes)
    return words


def _ans(data: bytes, n: int) -> list[int]:
    entry, packing, mantissa = 1 + (data[0] & 1), data[0] >> 1, (3, 8)[data[0] & 1]
    size, data = _leb128(data[1:])
    length, data = (size * entry, data) if packing == 0 else _leb128(data)
    table, data = data[:length], data[length:]
    if packing:
        table = zlib.decompress(table, -15)
    assert len(table) == size * entry
    codes = [int.from_bytes(table[i * entry : (i + 1) * entry], "little") for i in range(size)]
    if packing == 2:
        differences = [sum(table[k * size + i] << (8 * k) for k in range(entry)) for i in range(size)]
        codes = [sum(differences[: i + 1]) % 256**entry for i in range(size)]

    weights = [((1 << mantissa) + (c - 1) % (1 << mantissa) << (c - 1 >> mantissa)) if c else 0 for c in codes]
    symbols = [i for i in range(size) if weights[i] or size <= 4096]
    scale = float(2**24 - len(symbols)) / float(sum(weights))
    before = np.cumsum([0] + [weights[i] for i in symbols])
    left = [int(float(c) * scale) + i for i, c in enumerate(before[:-1])] + [2**24]

    data += bytes(-len(data) % 4)
    stack = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    state, result = 0, []
    while state < 2**32 and stack:
        state = state << 32 | stack.pop()
    for _ in range(n):
        quantile = state % 2**24
        i = bisect.bisect_right(left, quantile) - 1
        state = (state >> 24) * (left[i + 1] - left[i]) + quantile - left[i]
        if state < 2**32 and stack:
            state = state << 32 | stack.pop()
        result.append(symbols[i])
    assert state == 0
    assert not stack
    return result
