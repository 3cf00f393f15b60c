"""A second reader, written from docs/format.md alone: the standard library, numpy, and zstandard for RFC 8878.

It shares nothing with the package: its entropy decoder is the arithmetic of the specification, one symbol at a time.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from reference.coders import decode
from reference.grid import grid_streams, grid_values
from reference.methods import codebook, factored, inner, sparse

_BITS = {"bool": 8, "bfloat16": 16, "float4_e2m1fn_x2": 8}
_TEXTS = ("hyper_parameters", "checkpoint")
_TAGS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$tuple": tuple,
    "$dict": dict,
    "$ordered": OrderedDict,
    "$size": tuple,
    "$dtype": lambda name: f"torch.{name}",
    "$numpy": lambda pair: np.dtype(pair[0]).type(pair[1]),
}


@dataclass(frozen=True)
class File:
    """The restored content of a file: tensors as shape, dtype name and row-major bytes; assets by name."""

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
    assert manifest["format_version"] in (1, 2, 3, 4)

    lock = header.pop(next(iter(header))) if manifest["format_version"] == 4 else None
    assert lock in (None, {"dtype": "F6_E2M3", "shape": [0], "data_offsets": [0, 0]})
    end = 0
    parts = {}
    for name, part in header.items():
        start, stop = part["data_offsets"]
        *ones, size = part["shape"]
        assert (start, stop - start, part["dtype"]) == (end, size, "U8")
        assert ones in ([1], [1, 1]) if manifest["format_version"] == 4 and _is_of_tensor(name) else not ones
        parts[name] = body[start:stop]
        end = stop
    assert end == len(body)

    if manifest["format_version"] > 1:
        frame = _base85(manifest["zstd"])
        packed = json.loads(zstandard.ZstdDecompressor().decompress(frame))
        manifest = _explicit(_without_texts(packed) if manifest["format_version"] > 2 else packed)
        coded = _large_and_small(manifest, parts)
    else:
        coded = _each_stream(manifest, parts)

    tensors = {}
    for entry in manifest["entries"]:
        streams = {stream[0]: (stream[1], code) for stream, code in zip(entry["streams"], coded.pop(0), strict=True)}
        if entry["payload"]["kind"] == "grid":
            values = _grid(entry["payload"], entry["shape"], entry["dtype"], streams)
        else:
            values = _restore(entry["payload"], int(np.prod(entry["shape"], dtype=np.int64)), entry["dtype"], streams)
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
        (code,) = coded.pop(0)
        content = decode(asset["stream"][1], code, asset["bytes"], 1).tobytes()
        assert f"{zlib.crc32(content):08x}" == asset["crc32"]
        assets[asset["name"]] = content
    return File(manifest, tensors, assets)


def _is_of_tensor(name: str) -> bool:
    return name != "#small" and not name.startswith("#asset#")


def _base85(text: str) -> bytes:
    """Five digits are four bytes; k + 1 digits at the end are k."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    result = b""
    for start in range(0, len(text), 5):
        group = text[start : start + 5]
        value = 0
        for digit in group.ljust(5, "~"):
            value = 85 * value + digits.index(digit)
        result += value.to_bytes(4, "big")[: len(group) - 1]
    return result


def _without_texts(packed: dict[str, Any]) -> dict[str, Any]:
    """The manifest of version 3 in the form of version 2: values in place of texts, entries without reasons."""
    values: dict[str, Any] = {key: _value(json.loads(packed[key])) for key in _TEXTS if key in packed}
    reasons = {row[0]: packed["reasons"][row[8]] for row in packed["entries"] if len(row) == 9}
    return packed | values | {"entries": [row[:8] for row in packed["entries"]], "reasons": reasons}


def _value(json_value: Any) -> Any:
    if isinstance(json_value, list):
        return [_value(item) for item in json_value]
    if not isinstance(json_value, dict):
        return json_value
    if len(json_value) == 1 and next(iter(json_value)).startswith("$"):
        ((tag, content),) = json_value.items()
        return _TAGS[tag](_value(content))
    return {key: _value(item) for key, item in json_value.items()}


def _explicit(packed: dict[str, Any]) -> dict[str, Any]:
    """The manifest of version 2 in the form of version 1, plus the checksums of the coded bytes."""
    left_out: dict[str, Any] = {"ties": {}, "excluded": [], "class_path": None, "hyper_parameters": {}}
    left_out |= {"hyper_parameters_left_out": [], "plan": {}, "metrics": {}, "fingerprint": "", "assets": []}
    manifest = left_out | packed
    entries = []
    for name, shape, dtype, class_number, payload, streams, zeros, checksums in packed["entries"]:
        assert len(checksums) == 16
        entry = {"name": name, "shape": shape, "dtype": packed["dtypes"][dtype], "payload": payload, "zeros": zeros}
        names = _stream_names(payload, int(np.prod(shape, dtype=np.int64)))
        pairs = zip(names, streams[::2], streams[1::2], strict=True)
        entry |= {"class": packed["classes"][class_number], "crc32": checksums[8:], "coded_crc32": checksums[:8]}
        entries.append(entry | {"streams": [[name, packed["coders"][coder], size] for name, coder, size in pairs]})
    assets = [
        {"name": name, "bytes": n, "stream": ["bytes", coder, size], "crc32": crcs[8:], "coded_crc32": crcs[:8]}
        for name, n, coder, size, crcs in manifest["assets"]
    ]
    return manifest | {"entries": entries, "assets": assets, "format_version": 2}


def _stream_names(payload: dict[str, Any], n: int) -> list[str]:
    """Names of the streams of a payload, in order."""
    kind = payload["kind"]
    if kind == "raw":
        return ["values"] if n else []
    if kind == "half":
        return (["values"] if n else []) + (["escape_gaps", "escape_values"] if payload["escapes"] else [])
    if kind == "grid":
        return [*grid_streams(payload, n)]
    if kind == "sparse":
        names = ["positions"] if payload["count"] or (payload["positions"] == "bitmap" and n) else []
        return names + [f"value_{name}" for name in _stream_names(payload["values"], payload["count"])]
    if kind == "factored":
        sizes = {"left": payload["rows"] * payload["rank"], "right": n // payload["rows"] * payload["rank"]}
        return [f"{side}_{name}" for side, size in sizes.items() for name in _stream_names(payload[side], size)]
    names = ["indices"] if n else []
    if kind == "codebook":
        names += (["codebook"] if payload["levels"] else []) + (["scales"] if "scales" in payload and n else [])
    outliers = payload["outliers"]
    return names + [f"outlier_{name}" for name in _stream_names(outliers, outliers["count"])]


def _each_stream(manifest: dict[str, Any], parts: dict[str, bytes]) -> list[list[bytes]]:
    """Version 1: the codes of the streams of each tensor, then of each asset."""
    owners = [(entry["name"], entry["streams"]) for entry in manifest["entries"]]
    owners += [(f"#{asset['name']}", [asset["stream"]]) for asset in manifest["assets"]]
    found = []
    for name, streams in owners:
        codes = [parts.pop(f"{name}#{stream[0]}") for stream in streams]
        for (_, _, size, crc32), code in zip(streams, codes, strict=True):
            assert (len(code), f"{zlib.crc32(code):08x}") == (size, crc32)
        found.append(codes)
    assert not parts
    return found


def _large_and_small(manifest: dict[str, Any], parts: dict[str, bytes]) -> list[list[bytes]]:
    """Version 2: the same, from parts of their own and from the shared one."""
    owners = []
    for entry in manifest["entries"]:
        name = entry["name"]
        owners.append(("##" + name if name[:1] == "#" or name == "__metadata__" else name, entry, entry["streams"]))
    owners += [("#asset#" + asset["name"], asset, [asset["stream"]]) for asset in manifest["assets"]]
    small, found = parts.pop("#small", b""), []
    for part, owner, streams in owners:
        total = sum(stream[2] for stream in streams)
        if total >= 65536:
            assert next(iter(parts)) == part, "parts stand in the order of the manifest"
            code = parts.pop(part)
        else:
            code, small = small[:total], small[total:]
        assert (len(code), f"{zlib.crc32(code):08x}") == (total, owner["coded_crc32"])
        codes = []
        for stream in streams:
            codes.append(code[: stream[2]])
            code = code[stream[2] :]
        found.append(codes)
    assert not parts
    assert not small
    return found


def _size(dtype: str) -> int:
    """Bytes of an element: the dtype's name contains the number of bits."""
    digits = "".join(c for c in dtype.split("_")[0] if c.isdigit())
    return max(_BITS.get(dtype, int(digits or 8)) // 8, 1)


def _grid(payload: dict[str, Any], shape: list[int], dtype: str, coded: dict[str, tuple[str, bytes]]) -> bytes:
    n, groups = int(np.prod(shape, dtype=np.int64)), {"indices": tuple(payload.get("groups", ()))}
    streams = {
        name: decode(*coded[name], count, width, groups.get(name, ())).tolist()
        for name, (count, width) in grid_streams(payload, n).items()
    }
    return _round(np.array(grid_values(payload, shape, streams), np.float64), dtype).tobytes()


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
