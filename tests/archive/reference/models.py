"""Models and packed numbers of coded streams, written from docs/format.md alone."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial


def leb128(data: bytes) -> tuple[int, bytes]:
    """A number, and the bytes left."""
    value = shift = 0
    for position, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[position + 1 :]
    raise AssertionError("a number does not end")


def unpack(data: bytes, n: int) -> list[int]:
    planes, rest = divmod(data[0], 8)
    words = [sum(data[1 + k * n + i] << (8 * k) for k in range(planes)) for i in range(n)]
    top = data[1 + planes * n :]
    for i in range(n if rest else 0):
        group = int.from_bytes(top[i // 8 * rest : (i // 8 + 1) * rest], "little")
        words[i] |= (group >> (i % 8 * rest) & (1 << rest) - 1) << (8 * planes)
    return words


def read_table(data: bytes) -> tuple[list[int], bytes]:
    """The weights of all symbols, and the bytes left."""
    entry, packing, mantissa = 1 + (data[0] & 1), data[0] >> 1, (3, 8)[data[0] & 1]
    size, data = leb128(data[1:])
    length, data = (size * entry, data) if packing == 0 else leb128(data)
    table, data = data[:length], data[length:]
    if packing:
        table = zlib.decompress(table, -15)
    assert len(table) == size * entry
    codes = [int.from_bytes(table[i * entry : (i + 1) * entry], "little") for i in range(size)]
    if packing == 2:
        differences = [sum(table[k * size + i] << (8 * k) for k in range(entry)) for i in range(size)]
        codes = [sum(differences[: i + 1]) % 256**entry for i in range(size)]
    return [((1 << mantissa) + (c - 1) % (1 << mantissa) << (c - 1 >> mantissa)) if c else 0 for c in codes], data


def _fraction(r: int) -> float:
    """R(r)."""
    value, root = 1.0, 0.5
    for bit in (32, 16, 8, 4, 2, 1):
        root = math.sqrt(root)
        value = value * root if r & bit else value
    return value


def read_models(
    data: bytes, groups: tuple[int, ...]
) -> tuple[list[Callable[[list[int]], list[int]]], list[int], bytes]:
    """For each group with words: its words so far → weights of the next block; the lengths; and the bytes left."""
    j, pooled, h = (data[0] & 7) + 1, data[0] >> 3 & 1, 2 * (data[0] >> 4)
    size, data = leb128(data[1:])
    center, data = leb128(data)
    size += 2
    magnitudes = [abs(k - center + 1) if center else (k + 1) // 2 for k in range(size)]
    mirrors = []
    same: dict[int, list[int]] = {}
    for k, magnitude in enumerate(magnitudes):
        same.setdefault(magnitude, []).append(k)
    for k, magnitude in enumerate(magnitudes):
        others = [other for other in same[magnitude] if other != k]
        mirrors.append(others[0] if others and pooled else k)
    lengths = [length for length in groups if length]
    models = []
    for scale, _ in zip(data, lengths, strict=False):
        slope = _fraction(4 * (scale % 16)) * 2.0 ** (4 - scale // 16)
        first = []
        for m in magnitudes:
            root = math.sqrt(math.sqrt(m))
            power = root
            for _ in range(j - 1):
                power *= root
            steps = math.floor(64 * min(slope * power, 64.0))
            first.append(max(1, math.floor(_fraction(steps % 64) * 2.0 ** (h - steps // 64))))
        models.append(partial(_adapted, first, mirrors))
    return models, lengths, data[len(lengths) :]


def _adapted(first: list[int], mirrors: list[int], words: list[int]) -> list[int]:
    counts = Counter(words)
    return [weight + 32 * (counts[k] + counts[mirrors[k]]) for k, weight in enumerate(first)]
