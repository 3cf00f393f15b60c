"""One ANS code for consecutive groups of words, each with a model that starts from two numbers and learns.

The start is a generalized Gaussian, named by one byte for each group and two for all; after 64 words, 128, 256, … the
counts so far are added to it. No table of frequencies is stored, which for groups of a few thousand words would cost
what they gain. J. Rissanen 1984, "Universal coding, information, prediction, and estimation": codes that learn are as
short as those that say beforehand what they learned; S. G. Mallat 1989, "A theory for multiresolution signal
decomposition": generalized Gaussians as models of coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding import stack
from lightning_compress.coding.coder import Statistics, Words, dtype_of, read_varint, write_varint
from lightning_compress.coding.family import SCALES, SHAPES, powers, prior, slopes
from lightning_compress.errors import FormatError

_MAX_SYMBOLS = 1 << 12
_MAX_GROUPS = 1 << 8
_MAX_MODELS = 1 << 18  # symbols in all groups together
_LONGEST_ALONE = 1 << 18
_FIRST_BLOCK = 64
_COUNT = 32  # weight of a word, of which pooling gives as much to the symbol of the other sign
_TRIED_HEIGHTS = (8, 12, 14, 16, 20, 30)
_TRIED_SHAPES = 2
_COARSE = 8
_CHUNK = 1 << 20
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Alphabet:
    """What symbols mean.

    Attributes:
        symbols: how many, from 2.
        center: the symbol of magnitude 0, from which magnitudes grow to both sides; None: symbols alternate in sign,
            0, −1, 1, −2, 2, …
    """

    symbols: int
    center: int | None

    @property
    def magnitudes(self) -> Counts:
        """``[symbols]``: distance from the symbol of magnitude 0."""
        numbers = np.arange(self.symbols)
        return (numbers + 1) // 2 if self.center is None else np.abs(numbers - self.center)

    @property
    def mirrors(self) -> Counts:
        """``[symbols]``: the symbol of the other sign; the symbol itself where there is none."""
        numbers = np.arange(self.symbols)
        other = numbers + 2 * (numbers % 2) - 1 if self.center is None else 2 * self.center - numbers
        other[0] = 0 if self.center is None else other[0]
        return np.where((other >= 0) & (other < self.symbols), other, numbers)


@dataclass(frozen=True)
class Family:
    """Where the models of all groups start, and how they learn.

    Attributes:
        alphabet: what symbols mean.
        shape: of the generalized Gaussian, in quarters.
        height: how much the start weighs against what is learned: 2^height against 64 for each word.
        pooled: whether a word counts for both its signs.
    """

    alphabet: Alphabet
    shape: int
    height: int
    pooled: bool

    def learned(self, counts: Counts) -> Counts:
        """``[…, symbols]``: what words seen so often add to the weights."""
        return _COUNT * (counts + (counts[..., self.alphabet.mirrors] if self.pooled else counts))

    def starts(self, scales: Counts) -> Counts:
        """``[groups, symbols]``: the weights before any word."""
        return prior(self.alphabet.magnitudes, self.shape, scales, self.height)


@dataclass(frozen=True, eq=False)
class Blocks:
    """What is known of the words of all groups, block by block.

    Attributes:
        seen: ``[blocks, symbols]``: how often each word occurs in the block.
        before: ``[blocks, symbols]``: how often in earlier blocks of its group.
        group: ``[blocks]``: number of the group.
    """

    seen: Counts
    before: Counts
    group: Counts

    @classmethod
    def of(cls, groups: list[Words], symbols: int) -> Blocks:
        """Count the words."""
        seen = [np.stack([_counts(block, symbols) for block in _blocks(group)]) for group in groups]
        before = [np.cumsum(counts, axis=0) - counts for counts in seen]
        numbers = np.repeat(np.arange(len(groups)), [len(counts) for counts in seen])
        return cls(np.concatenate(seen), np.concatenate(before), numbers)

    def weights(self, family: Family, scales: Counts) -> Counts:
        """``[blocks, symbols]``: the weights that each block is coded with."""
        return family.starts(scales)[self.group] + family.learned(self.before)


class Contexts:
    """Alphabet, family, and the scale of each group; then the 32-bit words of a range ANS coder."""

    id: ClassVar[str] = "contexts"

    def lower_bound(self, statistics: Statistics) -> float | None:
        """None is known, as words may drift. Long streams of one group are left to ``ans``, whose table they pay."""
        long = len(statistics.words) > _LONGEST_ALONE and len(statistics.groups) < 2
        groups, symbols = max(len(statistics.groups), 1), statistics.largest + 1
        fits = 1 < symbols <= _MAX_SYMBOLS and groups <= _MAX_GROUPS and symbols * groups <= _MAX_MODELS
        return 0.0 if fits and not long else None

    def encode(self, statistics: Statistics) -> bytes:
        """See :class:`Coder`."""
        groups = _split(statistics.words, statistics.groups)
        blocks = Blocks.of(groups, statistics.largest + 1)
        family, scales = _fit(blocks)
        pieces = [block for group in groups for block in _blocks(group)]
        code = stack.push(list(zip(pieces, blocks.weights(family, scales), strict=True)))
        return _header(family) + bytes(scales.tolist()) + code

    def decode(self, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
        """See :class:`Coder`."""
        if len(groups) > _MAX_GROUPS or (groups and sum(groups) != count):
            raise FormatError(f"{len(groups)} groups of {sum(groups)} words, expected at most {_MAX_GROUPS} of {count}")
        lengths = [length for length in groups or (count,) if length]
        family, body = family_of(data, width)
        if len(body) < len(lengths):
            raise FormatError(f"a stream of {len(lengths)} groups has {len(body)} bytes for their scales and its code")
        starts = family.starts(np.frombuffer(body[: len(lengths)], np.uint8).astype(np.int64))
        coder, result, done = stack.opened(body[len(lengths) :]), np.empty(count, dtype_of(width)), 0
        for start, length in zip(starts, lengths, strict=True):
            counts = np.zeros(len(start), np.int64)
            for block in _blocks(result[done : done + length]):
                model = stack.model(start + family.learned(counts))
                for at in range(0, len(block), _CHUNK):
                    symbols = coder.decode(model, len(block[at : at + _CHUNK]))
                    block[at : at + _CHUNK] = symbols
                    counts += np.bincount(symbols, minlength=len(counts))
            done += length
        stack.check_end(coder)
        return result


def _split(words: Words, groups: tuple[int, ...]) -> list[Words]:
    """The groups that have words."""
    return [group for group in np.split(words, np.cumsum(groups)[:-1]) if len(group)] if groups else [words]


def _blocks(words: Words) -> Iterator[Words]:
    """64 words, then each time as many as there were before."""
    start = 0
    while start < len(words):
        end = max(2 * start, _FIRST_BLOCK)
        yield words[start:end]
        start = end


def _counts(words: Words, symbols: int) -> Counts:
    counts = np.zeros(symbols, np.int64)
    for start in range(0, len(words), _CHUNK):
        counts += np.bincount(words[start : start + _CHUNK].astype(np.int64), minlength=symbols)
    return counts


def _header(family: Family) -> bytes:
    """Shape, pooling and height in one byte; symbols; center."""
    first = family.shape - SHAPES.start | family.pooled << 3 | family.height // 2 << 4
    center = 0 if family.alphabet.center is None else family.alphabet.center + 1
    return bytes([first]) + write_varint(family.alphabet.symbols - 2) + write_varint(center)


def family_of(data: memoryview, width: int) -> tuple[Family, memoryview]:
    """The family that a code begins with, and the bytes after it.

    Raises:
        FormatError: it is none of words of ``width`` bytes.
    """
    if not len(data):
        raise FormatError("a stream of contexts is empty")
    symbols, rest = read_varint(data[1:])
    center, rest = read_varint(rest)
    symbols += 2
    if symbols > min(_MAX_SYMBOLS, 1 << (8 * width)) or center > symbols:
        raise FormatError(
            f"a stream of contexts has {symbols} symbols and center {center}, expected at most {_MAX_SYMBOLS} of "
            f"{8 * width} bits, and a center up to their number"
        )
    alphabet = Alphabet(symbols, center - 1 if center else None)
    return Family(alphabet, (data[0] & 7) + SHAPES.start, 2 * (data[0] >> 4), bool(data[0] & 8)), rest


def _fit(blocks: Blocks) -> tuple[Family, Counts]:
    """The family with the fewest estimated bits, and the scale of each group in it."""
    groups = np.stack([blocks.seen[blocks.group == group].sum(axis=0) for group in range(blocks.group[-1] + 1)])
    total = groups.sum(axis=0)
    median = int(np.searchsorted(np.cumsum(total), total.sum() / 2))
    alphabets = [Alphabet(len(total), center) for center in (None, *sorted({0, median}))]
    forms = [(alphabet, shape) for alphabet in alphabets for shape in SHAPES]
    coarse = np.arange(0, SCALES, _COARSE)
    likely = sorted(forms, key=lambda form: _static(form[0], form[1], groups, coarse)[0])[:_TRIED_SHAPES]
    found = []
    for alphabet, shape in likely:
        scales = _static(alphabet, shape, groups, np.arange(SCALES))[1]
        heights = [_estimated(Family(alphabet, shape, height, True), scales, blocks) for height in _TRIED_HEIGHTS]
        best = min(heights, key=lambda fit: fit[0])
        found += [best, _estimated(replace(best[1], pooled=False), scales, blocks)]
    _, family, scales = min(found, key=lambda fit: fit[0])
    return family, scales


def _estimated(family: Family, scales: Counts, blocks: Blocks) -> tuple[float, Family, Counts]:
    """Bits of the words under models that learn."""
    weights = blocks.weights(family, scales)
    rates = np.log2(weights.sum(axis=1, keepdims=True)) - np.log2(weights)
    return float((blocks.seen * rates).sum()), family, scales


def _static(alphabet: Alphabet, shape: int, groups: Counts, scales: Counts) -> tuple[float, Counts]:
    """Bits of groups, ``[groups, symbols]`` counts, that learn nothing, and the best of these scales for each."""
    raised, symbols = powers(np.arange(alphabet.symbols), shape), np.bincount(alphabet.magnitudes)
    moments = groups @ raised[alphabet.magnitudes]
    steps = slopes(scales)
    rates = np.log2(np.exp2(-steps[:, None] * raised[: len(symbols)]) @ symbols)
    bits = groups.sum(axis=1, keepdims=True) * rates + moments[:, None] * steps
    return float(bits.min(axis=1).sum()), scales[bits.argmin(axis=1)]
