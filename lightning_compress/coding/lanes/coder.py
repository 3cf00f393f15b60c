"""The coder ``lanes``: a model of the symbols, low bits of wide words, and the code of the symbols in lanes.

J. Duda 2013, "Asymmetric numeral systems" (range ANS); F. Giesen 2014, "Interleaved entropy coders" (several states
that take turns on one stream of words, so that a processor decodes several symbols at a time).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_compress.coding.coder import Statistics, Words, dtype_of, read_varint, write_varint
from lightning_compress.coding.lanes import code
from lightning_compress.coding.lanes.code import PRECISIONS, Layout
from lightning_compress.coding.lanes.low_bits import SYMBOL_BITS, Split
from lightning_compress.coding.lanes.types import Symbols
from lightning_compress.coding.models.adaptive import Counts
from lightning_compress.coding.models.adaptive_fit import MAX_MODELS, AdaptiveFit, is_adaptive, read_groups
from lightning_compress.coding.models.frequency_table import best_table, read_table
from lightning_compress.coding.packed import packed_size, unpack
from lightning_compress.errors import FormatError
from lightning_compress.runtime import Work

_MAX_SYMBOLS = 1 << SYMBOL_BITS
_WIDE, _ADAPTIVE, _LIMITED = 8, 64, 128  # flags in the first byte; bits 0–2 are lanes, bits 4 and 5 precision
_ROTATED = 128  # flag in the byte of the low bits
_BLOCK = 64
_MODEL = 48  # bytes, and operations, of one symbol in one model
_FREE = 6 * 16  # bits at the end that may cost nothing, if one of the last four words is larger than the one before
_EFFICIENCY = 2 / 3  # information per bit of code, at least: a state is at least twice the slots of its symbol


class Lanes:
    """One or two bytes for lanes, precision and low bits; the model; the low bits of wide words; the code."""

    id: ClassVar[str] = "lanes"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """Two thirds of the entropy, less what the end of the stream may save; None for streams of one symbol.

        A state of at least 2^16 becomes ⌊state / slots⌋ · 2^precision or more. The quotient is at least 2, so rounding
        it down loses at most a third of it, and the logarithm of the state grows by two thirds of the information of
        the symbol or more. One lane starts from 0, and words at the end that fall or stay equal may cost nothing.
        """
        if not statistics.largest:
            return None
        if statistics.largest >= _MAX_SYMBOLS:
            return 0.0
        tail = statistics.words[-4:]
        rises = bool((tail[1:] > tail[:-1]).any())
        bits = 8 * self._entropy_bytes(statistics) - _FREE
        return 4 + math.floor(_EFFICIENCY * max(bits, 0.0) / 8) if rises else 4

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        words = statistics.words
        if statistics.largest >= _MAX_SYMBOLS:
            split = Split.of(words)
            symbols, low = split.divided(words)
            return self._with_table(Statistics(symbols), bytes([split.low | _ROTATED * split.rotated]), low)
        if not is_adaptive(statistics):
            return self._with_table(statistics)
        fitted = AdaptiveFit.of(statistics)
        flags, limits, weights = _ADAPTIVE, b"", fitted.weights
        if len(fitted.groups) > 1 and _limits_pay(fitted):
            largest = fitted.largest
            flags, limits = _ADAPTIVE | _LIMITED, b"".join(map(write_varint, largest.tolist()))
            weights = np.where(np.arange(weights.shape[1]) > largest[fitted.blocks.group, None], 0, weights)
        seen = fitted.blocks.seen
        layout = Layout.suited(seen, weights, statistics.entropy_bytes)
        coded = code.encode(_narrow(words), np.cumsum(seen.sum(axis=1)), weights, layout)
        return b"".join((_flags(layout, flags), fitted.header, limits, coded))

    def work(self, count: int, width: int, groups: tuple[int, ...] = ()) -> Work:
        """See :class:`Coder`."""
        lengths = [length for length in groups or (count,) if length]
        symbols = min(_MAX_SYMBOLS, 1 << (8 * width), MAX_MODELS // max(len(lengths), 1))
        blocks = sum(max(length // _BLOCK, 1).bit_length() + 1 for length in lengths)
        tables = 1 << PRECISIONS.stop
        memory = (width + 5) * count + _MODEL * symbols * (len(lengths) + 1) + 2 * tables
        return Work(memory, (width + 15) * count + _MODEL * symbols * (len(lengths) + blocks) + blocks * tables)

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        layout, flags, split, body = _read_flags(data, width)
        bits = 8 * width - split.low
        if flags & _ADAPTIVE:
            model, weights, lengths, body = read_groups(body, count, width, groups)
            mirrors = model.mirrors
            if flags & _LIMITED:
                body = _limit(body, weights)
        else:
            table, body = read_table(body)
            weights, lengths, mirrors = table[None], [count], None
        if weights.shape[1] > min(1 << (layout.precision - 2), 1 << bits) or not weights.any(axis=1).all():
            raise FormatError(
                f"a stream of lanes has {weights.shape[1]} symbols of {bits} bits in 2^{layout.precision} slots"
            )
        low, body = _take(body, packed_size(count, split.low))
        symbols = np.empty(count, np.uint8 if width == 1 else np.uint16)
        code.decode(body, layout, weights, mirrors, np.array(lengths, np.int64), symbols)
        if not split.low:
            return symbols.astype(dtype_of(width), copy=False)
        return split.joined(symbols, unpack(low, split.low, count, width))

    def _entropy_bytes(self, statistics: Statistics) -> float:
        """The entropy of the stream, or of its blocks."""
        if not is_adaptive(statistics):
            return statistics.entropy_bytes
        seen = AdaptiveFit.of(statistics).blocks.seen
        sizes, present = seen.sum(axis=1), seen[seen > 0]
        return float((sizes * np.log2(sizes)).sum() - (present * np.log2(present)).sum()) / 8

    def _with_table(self, statistics: Statistics, split: bytes = b"", low: bytes | memoryview = b"") -> bytes:
        """A stream with one table of frequencies; ``split`` and ``low`` are the bytes that wide words have besides."""
        counts, symbols = statistics.counts, statistics.words
        assert counts is not None
        present = np.flatnonzero(counts)
        table, of_present = best_table(counts, present)
        weights: Counts = np.zeros(len(counts), np.int64)
        weights[present] = of_present
        layout = Layout.suited(counts[None], weights[None], statistics.entropy_bytes)
        coded = code.encode(_narrow(symbols), np.array([len(symbols)]), weights[None], layout)
        return b"".join((_flags(layout, _WIDE if split else 0), split, table, low, coded))


def _narrow(words: Words) -> Symbols:
    """Symbols in at most two bytes."""
    return words if words.itemsize < 4 else words.astype(np.uint16)


def _limits_pay(fitted: AdaptiveFit) -> bool:
    """Whether it saves bytes to write the largest symbol of each group: each larger one then has no slot there."""
    seen, group, largest = fitted.blocks.seen, fitted.blocks.group, fitted.largest
    lengths = np.bincount(group, seen.sum(axis=1))
    saved = lengths * (seen.shape[1] - 1 - largest) / (math.log(256) * 2 ** PRECISIONS[-2])
    return bool(saved.sum() > (largest // 128 + 1).sum())


def _limit(data: memoryview, weights: Counts) -> memoryview:
    """Read the largest symbol of each group, and set the weights ``[groups, symbols]`` of larger ones to 0."""
    for group in weights:
        largest, data = read_varint(data)
        group[largest + 1 :] = 0
    return data


def _flags(layout: Layout, flags: int) -> bytes:
    return bytes([layout.lanes.bit_length() - 1 | (layout.precision - PRECISIONS[0]) << 4 | flags])


def _read_flags(data: memoryview, width: int) -> tuple[Layout, int, Split, memoryview]:
    """Layout, flags of the model, the division of wide words, and the bytes after these."""
    first, rest = _take(data, 1)
    lanes, precision = 1 << (first[0] & 7), PRECISIONS[first[0] >> 4 & 3]
    split = Split()
    if first[0] & _WIDE:
        second, rest = _take(rest, 1)
        split = Split(second[0] >= _ROTATED, second[0] % _ROTATED)
    flags = first[0] & (_ADAPTIVE | _LIMITED)
    if lanes > code.MAX_LANES or flags == _LIMITED or split.low >= 8 * width:
        raise FormatError(f"a stream of lanes begins with {bytes(data[:2]).hex()}, which this version does not know")
    return Layout(lanes, precision), flags, split, rest


def _take(data: memoryview, nbytes: int) -> tuple[memoryview, memoryview]:
    """The first bytes, and those after them."""
    if len(data) < nbytes:
        raise FormatError(f"a stream of lanes has {len(data)} bytes left, expected at least {nbytes}")
    return data[:nbytes], data[nbytes:]
