"""Adaptive models of groups of words: a generalized Gaussian prior plus the counts of earlier blocks.

J. Rissanen 1984, "Universal coding, information, prediction, and estimation": adaptive codes are as short as codes that
first transmit what they learned. S. G. Mallat 1989, "A theory for multiresolution signal decomposition": generalized
Gaussians as models of coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.coder import Words
from lightning_compress.coding.counting import occurrences
from lightning_compress.coding.models.generalized_gaussian import SCALES, SHAPES, powers, prior, slopes
from lightning_compress.runtime.cached import cached_property
from lightning_compress.runtime.compiler import has_compiler

CHUNK = 1 << 20
FIRST_BLOCK = 64
COUNT = 32  # weight of an observed word; pooling adds as much to the symbol of the opposite sign
_TRIED_HEIGHTS = (8, 12, 14, 16, 20, 30)
_TRIED_SHAPES = 2
_COARSE = 8
_BATCH = 1 << 15  # weights that are computed together
_CACHED_PARTITIONS = 1 << 8  # 16 KiB each for 256 symbols
_CACHED_ALPHABETS = 1 << 6  # 4 KiB each for 256 symbols
_TABLE_LENGTH = (1 << 8) + 1  # words of one byte have smaller magnitudes; the tables take 5 MB
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Alphabet:
    """The magnitude and sign of each symbol.

    Attributes:
        symbols: number of symbols, from 2.
        center: the symbol of magnitude 0; magnitudes grow on both sides of it. None: the signs of symbols alternate,
            0, −1, 1, −2, 2, …
    """

    symbols: int
    center: int | None

    @cached_property
    def magnitudes(self) -> Counts:
        """``[symbols]``: distance from the symbol of magnitude 0."""
        numbers = np.arange(self.symbols)
        return (numbers + 1) // 2 if self.center is None else np.abs(numbers - self.center)

    @cached_property
    def mirrors(self) -> Counts:
        """``[symbols]``: the symbol of the opposite sign; the symbol itself where there is none."""
        numbers = np.arange(self.symbols)
        other = numbers + 2 * (numbers % 2) - 1 if self.center is None else 2 * self.center - numbers
        other[0] = 0 if self.center is None else other[0]
        return np.where((other >= 0) & (other < self.symbols), other, numbers)


@dataclass(frozen=True)
class AdaptiveModel:
    """The parameters that the models of all groups share: the shape of the prior, and how counts update it.

    Attributes:
        alphabet: the magnitudes and signs of symbols.
        shape: exponent of the generalized Gaussian, in quarters.
        height: strength of the prior: magnitude 0 has the prior weight 2^height, and each counted word adds up to 64.
        pooled: whether a word also counts for the symbol of the opposite sign.
    """

    alphabet: Alphabet
    shape: int
    height: int
    pooled: bool

    def learned(self, counts: Counts) -> Counts:
        """``[…, symbols]``: the weight that the words counted so far add to each symbol."""
        return COUNT * (counts + (counts[..., self.alphabet.mirrors] if self.pooled else counts))

    def starts(self, scales: Counts) -> Counts:
        """``[groups, symbols]``: the prior weights of groups of these scale numbers ``[groups]``."""
        return prior(self.alphabet.magnitudes, self.shape, scales, self.height)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Counts of the words of all groups, block by block.

    Attributes:
        seen: ``[blocks, symbols]``: count of each word in the block.
        before: ``[blocks, symbols]``: count in earlier blocks of the same group.
        group: ``[blocks]``: number of the group.
    """

    seen: Counts
    before: Counts
    group: Counts

    @classmethod
    def of(cls, groups: list[Words], symbols: int) -> Blocks:
        """Count the words of groups."""
        seen = [np.stack([occurrences(block, symbols) for block in split(group)]) for group in groups]
        before = [np.cumsum(counts, axis=0) - counts for counts in seen]
        numbers = np.repeat(np.arange(len(groups)), [len(counts) for counts in seen])
        return cls(np.concatenate(seen), np.concatenate(before), numbers)

    def weights(self, model: AdaptiveModel, scales: Counts) -> Counts:
        """``[blocks, symbols]``: the weights that each block is coded with."""
        return model.starts(scales)[self.group] + model.learned(self.before)


def split(words: Words) -> Iterator[Words]:
    """The blocks of a group: 64 words, then each time as many as all earlier blocks together."""
    start = 0
    for end in block_ends(len(words)):
        yield words[start:end]
        start = end


def block_ends(length: int) -> list[int]:
    """Where each block of a group of so many words ends."""
    ends, end = [], FIRST_BLOCK
    while end < length:
        ends.append(end)
        end *= 2
    return [*ends, length] if length else []


def fit(blocks: Blocks) -> tuple[AdaptiveModel, Counts]:
    """The model with the fewest estimated bits among those tried, and the scale number of each group."""
    groups = np.stack([blocks.seen[blocks.group == group].sum(axis=0) for group in range(blocks.group[-1] + 1)])
    total = groups.sum(axis=0)
    median = int(np.searchsorted(np.cumsum(total), total.sum() / 2))
    priors: list[tuple[float, Alphabet, int]] = []
    for center in (None, *sorted({0, median})):
        alphabet = _alphabet(len(total), center)
        static = _static(alphabet, tuple(SHAPES), groups, _COARSE)[0]
        priors += [(bits, alphabet, shape) for bits, shape in zip(static, SHAPES, strict=True)]
    found: list[tuple[float, AdaptiveModel, Counts]] = []
    for _, alphabet, shape in sorted(priors, key=lambda prior: prior[0])[:_TRIED_SHAPES]:
        scales = _static(alphabet, (shape,), groups, 1)[1][0]
        pooled = AdaptiveModel(alphabet, shape, 0, True)
        bits = _estimated(pooled, _TRIED_HEIGHTS, scales, blocks)
        best = replace(pooled, height=_TRIED_HEIGHTS[bits.index(min(bits))])
        unpooled = replace(best, pooled=False)
        found += [
            (min(bits), best, scales),
            (*_estimated(unpooled, (best.height,), scales, blocks), unpooled, scales),
        ]
    _, model, scales = min(found, key=lambda candidate: candidate[0])
    return model, scales


@lru_cache(_CACHED_ALPHABETS)
def _alphabet(symbols: int, center: int | None) -> Alphabet:
    """An alphabet whose magnitudes and mirrors are computed once for many streams."""
    return Alphabet(symbols, center)


def _estimated(model: AdaptiveModel, heights: tuple[int, ...], scales: Counts, blocks: Blocks) -> list[float]:
    """Bits of the words under the model with each of these heights."""
    learned, step = model.learned(blocks.before), max(1, _BATCH // blocks.seen.size)
    bits: list[float] = []
    for start in range(0, len(heights), step):
        some = np.array(heights[start : start + step])
        starts = prior(model.alphabet.magnitudes, model.shape, scales, some)
        bits += _bits_of_blocks(starts, learned, blocks).tolist()
    return bits


def _bits_of_blocks(starts: Counts, learned: Counts, blocks: Blocks) -> NDArray[np.float64]:
    """``[heights]``: bits of the words, by the weights ``[heights, groups, symbols]`` that groups start with."""
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import adaptive_bits

        bits = np.empty(len(starts))
        adaptive_bits(starts, learned, blocks.seen, blocks.group, bits)
        return bits
    weights = np.take(starts, blocks.group, axis=1) + learned  # C order: memory order affects how sums are rounded
    rates = np.log2(weights.sum(axis=-1, keepdims=True)) - np.log2(weights)
    result: NDArray[np.float64] = (blocks.seen * rates).reshape(len(starts), -1).sum(axis=1)
    return result


def _static(alphabet: Alphabet, shapes: tuple[int, ...], groups: Counts, stride: int) -> tuple[list[float], Counts]:
    """Bits of groups, ``[groups, symbols]`` counts, under priors that do not adapt, and the best scale of each group.

    Only every ``stride``-th scale is tried.

    Returns:
        The bits for each shape, and the scales ``[shapes, groups]``.
    """
    scales = np.arange(0, SCALES, stride)
    raised, rates = _partition(alphabet, shapes, stride)
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import static_bits

        bits_of_shapes, best = np.empty(len(shapes)), np.empty((len(shapes), len(groups)), np.int64)
        static_bits(groups, raised, rates, slopes(scales), bits_of_shapes, best)
        return bits_of_shapes.tolist(), scales[best]
    counts = groups.astype(np.float64)
    moments = np.stack([counts @ row for row in raised])
    bits = counts.sum(axis=1, keepdims=True) * rates[:, None] + moments[..., None] * slopes(scales)
    return bits.min(axis=-1).sum(axis=-1).tolist(), scales[bits.argmin(axis=-1)]


@lru_cache(_CACHED_PARTITIONS)
def _partition(
    alphabet: Alphabet, shapes: tuple[int, ...], stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[shapes, symbols]``: magnitudes raised to each shape; ``[shapes, scales]``: log2 of the partition functions."""
    symbols = np.bincount(alphabet.magnitudes)
    raised = [powers(alphabet.magnitudes, shape) for shape in shapes]
    rates = [np.log2(_densities(len(symbols), shape, stride) @ symbols) for shape in shapes]
    return np.stack(raised), np.stack(rates)


def _densities(length: int, shape: int, stride: int) -> NDArray[np.float64]:
    """``[scales, length]``: 2^(−a · m^(j/4)) of the magnitudes m below ``length``, for every ``stride``-th scale."""
    if length < _TABLE_LENGTH:
        return _density_table(shape, stride)[:, :length]
    return np.exp2(-slopes(np.arange(0, SCALES, stride))[:, None] * powers(np.arange(length), shape))


@lru_cache
def _density_table(shape: int, stride: int) -> NDArray[np.float64]:
    """The densities of ``_TABLE_LENGTH`` magnitudes."""
    return _densities(_TABLE_LENGTH, shape, stride)
