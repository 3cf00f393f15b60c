"""A second decoder of the coder ``lanes``, written from docs/format.md alone, one symbol at a time."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from itertools import accumulate

from reference.models import leb128, read_models, read_table, unpack


def decode_lanes(data: bytes, n: int, bits: int, groups: tuple[int, ...]) -> list[int]:
    """The n words of ``bits`` bits that a code holds."""
    first, data = data[0], data[1:]
    lanes, precision, k, rotated = 1 << (first & 7), 12 + (first >> 4 & 3), 0, 0
    assert lanes <= 32
    if first & 8:
        k, rotated, data = data[0] & 127, data[0] >> 7, data[1:]
    blocks, data = _adaptive(first >> 7, data, groups or (n,)) if first & 64 else _fixed(data, n)
    packed = k // 8 * n + -(-n // 8) * (k % 8)
    low, data = unpack(bytes([k]) + data[:packed], n), data[packed:]
    symbols = _symbols(_words(data), lanes, precision, blocks)
    words = [symbol << k | rest for symbol, rest in zip(symbols, low, strict=True)]
    return [word >> 1 | (word & 1) << (bits - 1) for word in words] if rotated else words


# The symbols of the group so far → the weights of the next block and its length; None at the end of the group.
_Model = Callable[[list[int]], tuple[list[int], int] | None]


def _fixed(data: bytes, n: int) -> tuple[list[_Model], bytes]:
    weights, data = read_table(data)
    assert len(weights) <= 4096
    return [lambda group: (weights, n) if len(group) < n else None], data


def _adaptive(limited: int, data: bytes, groups: tuple[int, ...]) -> tuple[list[_Model], bytes]:
    models, lengths, data = read_models(data, groups)
    largest = []
    for _ in lengths:
        limit, data = leb128(data) if limited else (4096, data)
        largest.append(limit)

    def of_group(number: int) -> _Model:
        def block(group: list[int]) -> tuple[list[int], int] | None:
            left = lengths[number] - len(group)
            weights = [w * (k <= largest[number]) for k, w in enumerate(models[number](group))]
            return (weights, min(left, max(64, len(group)))) if left else None

        return block

    return [of_group(number) for number in range(len(lengths))], data


def _words(data: bytes) -> list[int]:
    data += bytes(len(data) % 2)
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    assert not words or words[-1]
    return words


def _symbols(stack: list[int], lanes: int, precision: int, models: list[_Model]) -> list[int]:
    states = [0] * lanes
    for lane in range(lanes):
        while states[lane] < 2**16 and stack:
            states[lane] = states[lane] << 16 | stack.pop()
    result: list[int] = []
    for model in models:
        group: list[int] = []
        while (block := model(group)) is not None:
            left = _slots(block[0], precision)
            for _ in range(block[1]):
                lane = len(result) % lanes
                slot = states[lane] % 2**precision
                symbol = bisect.bisect_right(left, slot) - 1
                states[lane] = (states[lane] >> precision) * (left[symbol + 1] - left[symbol]) + slot - left[symbol]
                if states[lane] < 2**16 and stack:
                    states[lane] = states[lane] << 16 | stack.pop()
                group.append(symbol)
                result.append(symbol)
    assert not stack
    assert states == [0 if lanes == 1 else 2**16] * lanes
    return result


def _slots(weights: list[int], precision: int) -> list[int]:
    """Where the slots of each symbol begin, and where the last ends."""
    assert len(weights) <= 2 ** (precision - 2)
    shift = 0
    while sum(weights) >> shift >= 2**31:
        shift += 1
    weights = [max(1, weight >> shift) if weight else 0 for weight in weights]
    total = sum(weights)
    rare = [0 < weight * 2 ** (precision - 1) < total for weight in weights]
    common = [0 if is_rare else weight for weight, is_rare in zip(weights, rare, strict=True)]
    before, ones = accumulate(common, initial=0), accumulate(rare, initial=0)
    slots, whole = 2**precision - sum(rare), sum(common)
    return [weight * slots // whole + one for weight, one in zip(before, ones, strict=True)]
