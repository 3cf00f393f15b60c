"""A second decoder of every coder, written from docs/format.md alone, one symbol at a time."""

from __future__ import annotations

import bisect
import zlib

import numpy as np
import zstandard

from reference.lanes import decode_lanes
from reference.models import leb128, read_models, read_table, unpack

_PLANE_CODERS = {0: "stored", 1: "packed", 2: "zstd", 3: "huffman", 4: "ans", 5: "contexts", 6: "lanes"}


def decode(coder: str, data: bytes, n: int, width: int, groups: tuple[int, ...] = ()) -> np.ndarray:
    if coder == "planes":
        rotated, data = data[0], data[1:]
        planes = []
        for _ in range(width):
            length, rest = leb128(data[1:])
            planes.append(decode(_PLANE_CODERS[data[0]], rest[:length], n, 1))
            data = rest[length:]
        assert not data
        words = np.stack(planes, axis=1).view(f"<u{width}").reshape(-1)
        return (words >> 1) | (words << (8 * width - 1)) if rotated else words
    if coder == "packed":
        return np.array(unpack(data, n), f"<u{width}")
    if coder == "ans":
        return np.array(_ans(data, n), f"<u{width}")
    if coder == "contexts":
        return np.array(_contexts(data, groups or (n,)), f"<u{width}")
    if coder == "lanes":
        return np.array(decode_lanes(data, n, 8 * width, groups), f"<u{width}")
    if coder == "huffman":
        data = zlib.decompress(data, -15)
    elif coder == "zstd":
        data = zstandard.ZstdDecompressor().decompress(data)
    assert len(data) == n * width
    return np.frombuffer(data, f"<u{width}")


def _ans(data: bytes, n: int) -> list[int]:
    weights, data = read_table(data)
    symbols = [i for i in range(len(weights)) if weights[i] or len(weights) <= 4096]
    left = _slots([weights[i] for i in symbols])
    stack = _Stack(data)
    result = [symbols[stack.take(left)] for _ in range(n)]
    stack.end()
    return result


def _slots(weights: list[int]) -> list[int]:
    """Where the slots of each symbol begin, and where the last ends."""
    scale = float(2**24 - len(weights)) / float(sum(weights))
    before = np.cumsum([0, *weights])
    return [int(float(c) * scale) + i for i, c in enumerate(before[:-1])] + [2**24]


class _Stack:
    """The words of an ANS code, and the state above them."""

    def __init__(self, data: bytes) -> None:
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.state = 0
        while self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def take(self, left: list[int]) -> int:
        quantile = self.state % 2**24
        i = bisect.bisect_right(left, quantile) - 1
        self.state = (self.state >> 24) * (left[i + 1] - left[i]) + quantile - left[i]
        if self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return i

    def end(self) -> None:
        assert self.state == 0
        assert not self.words


def _contexts(data: bytes, groups: tuple[int, ...]) -> list[int]:
    models, lengths, data = read_models(data, groups)
    stack, result = _Stack(data), []
    for weights, length in zip(models, lengths, strict=True):
        group: list[int] = []
        while len(group) < length:
            left = _slots(weights(group))
            end = min(length, max(64, 2 * len(group)))
            while len(group) < end:
                group.append(stack.take(left))
        result += group
    stack.end()
    return result
