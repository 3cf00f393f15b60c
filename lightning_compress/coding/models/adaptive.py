"""Adaptive models of groups of words: a generalized Gaussian prior plus the counts of earlier blocks.

J. Rissanen 1984, "Universal coding, information, prediction, and estimation": adaptive codes are as short as codes that
first transmit what they learned. S. G. Mallat 1989, "A theory for multiresolution signal decomposition": generalized
Gaussians as models of coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.coder import Words
from lightning_compress.coding.counting import occurrences
from lightning_compress.coding.models.generalized_gaussian import COUNT, prior, prior_steps
from lightning_compress.runtime.cached import cached_property
from lightning_compress.runtime.compiler import has_compiler, read_only

CHUNK = 1 << 20
FIRST_BLOCK = 64
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

    @property
    def mirrors(self) -> Counts:
        """``[symbols]``: the symbol that a word counts for a second time; without pooling the same."""
        return self.alphabet.mirrors if self.pooled else np.arange(self.alphabet.symbols)

    def learned(self, counts: Counts) -> Counts:
        """``[…, symbols]``: the weight that the words counted so far add to each symbol."""
        return COUNT * (counts + counts[..., self.mirrors])

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
        """Count the words of groups, of which none is empty."""
        ends = [np.array(block_ends(len(group))) for group in groups]
        seen = np.zeros((sum(map(len, ends)), symbols), np.int64)
        before, start = np.empty_like(seen), 0
        for group, of_group in zip(groups, ends, strict=True):
            part = slice(start, start + len(of_group))
            _count_blocks(group, of_group, seen[part])
            np.cumsum(seen[part], axis=0, out=before[part])
            start = part.stop
        before -= seen
        return cls(seen, before, np.repeat(np.arange(len(groups)), [len(of_group) for of_group in ends]))

    def weights(self, model: AdaptiveModel, scales: Counts) -> Counts:
        """``[blocks, symbols]``: the weights that each block is coded with."""
        if not has_compiler():
            return model.starts(scales)[self.group] + model.learned(self.before)
        from lightning_compress.coding.models.fit_loops import block_weights

        weights = np.empty_like(self.before)
        steps = prior_steps(model.alphabet.magnitudes, model.shape, scales)
        block_weights(steps, model.height, model.mirrors, self.before, self.group, weights)
        return weights


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


def _count_blocks(words: Words, ends: Counts, seen: Counts) -> None:
    """Add to ``seen``, ``[blocks, symbols]``, how often each word occurs in the blocks of a group."""
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import count_blocks

        count_blocks(read_only(words), ends, seen)
        return
    for block, counts in zip(np.split(words, ends[:-1]), seen, strict=True):
        counts += occurrences(block, len(counts))
