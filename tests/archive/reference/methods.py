"""The payloads ``codebook``, ``sparse`` and ``factored``, from docs/format.md alone, with numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Streams = dict[str, tuple[str, bytes]]
Words = Callable[[str, int, int], np.ndarray]
Restore = Callable[[dict[str, Any], int, str, Streams], bytes]
Rounded = Callable[[np.ndarray, str], np.ndarray]


def inner(coded: Streams, prefix: str) -> Streams:
    """The streams of a nested payload, without the prefix of their names."""
    return {name.removeprefix(prefix): code for name, code in coded.items() if name.startswith(prefix)}


def floats(data: bytes, size: int, dtype: str) -> np.ndarray:
    """The float64 values of the bytes of a floating-point tensor."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    return np.frombuffer(data, f"<f{size}").astype(np.float64)


def codebook(
    payload: dict[str, Any], n: int, size: int, dtype: str, words: Words, outliers: bytes, rounded: Rounded
) -> bytes:
    levels = payload["levels"]
    index = words("indices", n, 1 if levels < 2**8 else 2)
    values = words("codebook", levels, size)
    bits = np.append(values, values.dtype.type(0))[index]
    if "scales" in payload:
        row, group, unit = (payload["scales"][key] for key in ("row", "size", "unit"))
        in_row = math.ceil(row / group)
        factors = words("scales", n // row * in_row, payload["scales"]["width"]).astype(np.float64)
        number = np.arange(n) // row * in_row + np.arange(n) % row // group
        bits = rounded(floats(bits.tobytes(), size, dtype) * (unit * factors[number]), dtype)
    assert int(index.max(initial=0)) <= levels
    assert np.count_nonzero(index == levels) == payload["outliers"]["count"]
    bits[index == levels] = np.frombuffer(outliers, f"<u{size}")
    return bits.tobytes()


def sparse(payload: dict[str, Any], n: int, size: int, words: Words, values: bytes) -> bytes:
    count = payload["count"]
    if payload["positions"] == "gaps":
        gaps = words("positions", count, payload["width"])
        places = [int(place) for place in np.cumsum(gaps.astype(np.int64) + 1) - 1]
    else:
        assert (payload["positions"], payload["width"]) == ("bitmap", 1)
        bitmap = words("positions", math.ceil(n / 8), 1)
        places = [8 * j + i for j, word in enumerate(bitmap.tolist()) for i in range(8) if word >> i & 1]
    assert len(places) == count
    result = np.zeros(n, f"<u{size}")
    result[places] = np.frombuffer(values, f"<u{size}")
    return result.tobytes()


def factored(
    payload: dict[str, Any], n: int, size: int, dtype: str, coded: Streams, restore: Restore, rounded: Rounded
) -> bytes:
    rows, rank = payload["rows"], payload["rank"]
    left = floats(restore(payload["left"], rows * rank, dtype, inner(coded, "left_")), size, dtype)
    right = floats(restore(payload["right"], rank * (n // rows), dtype, inner(coded, "right_")), size, dtype)
    total = np.zeros((rows, n // rows))
    for k in range(rank):
        total = total + np.outer(left.reshape(rows, rank)[:, k], right.reshape(rank, -1)[k])
    return rounded(total.reshape(-1), dtype).tobytes()
