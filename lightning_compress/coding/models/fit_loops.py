"""How many bits the words of a stream take under models that are tried: compiled loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import float64, int64, uint64
from numpy.typing import NDArray

from lightning_compress.coding.models.generalized_gaussian import COUNT, FRACTIONS, ROOTS
from lightning_compress.runtime.compilation import compiled_exactly

_LEAST_POWER = 64
_POWERS = np.ldexp(1.0, np.arange(-_LEAST_POWER, 32))  # a product with one of them is exact
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@compiled_exactly
def static_bits(
    groups: Counts, raised: Doubles, rates: Doubles, slopes: Doubles, bits: Doubles, scales: Counts
) -> None:
    """Bits of groups under priors that do not adapt.

    Args:
        groups: ``[groups, symbols]``: how often each symbol occurs.
        raised: ``[priors, symbols]``: magnitudes raised to the exponent of the shape.
        rates: ``[priors, scales]``: log2 of the partition functions.
        slopes: ``[scales]``.
        bits: ``[priors]``, a result: those of each prior, at the best scale of each group.
        scales: ``[priors, groups]``, a result: places of the best scales.
    """
    for prior in range(len(raised)):
        bits[prior] = 0.0
        for group in range(len(groups)):
            count, moment = float64(0), float64(0)
            for symbol in range(groups.shape[1]):
                number = float64(groups[group, symbol])
                count += number
                moment += number * raised[prior, symbol]
            least = math.inf
            for scale in range(len(slopes)):
                found = count * rates[prior, scale] + moment * slopes[scale]
                if found < least:
                    least, scales[prior, group] = found, scale
            bits[prior] += least


@compiled_exactly
def count_blocks(words: NDArray[np.unsignedinteger[Any]], ends: Counts, seen: Counts) -> None:
    """Count the words of blocks.

    Args:
        words: ``[n]``, all below the number of symbols.
        ends: ``[blocks]``: where each block ends.
        seen: ``[blocks, symbols]``: is increased.
    """
    start = 0
    for block in range(len(ends)):
        counts = seen[block]
        for place in range(start, ends[block]):
            counts[uint64(words[place])] += 1
        start = ends[block]


@compiled_exactly
def _prior(steps: Counts, height: int, weights: Counts) -> None:
    """⌊2^(height − step / 64)⌋, at least 1, of the steps of one group, ``[symbols]`` both."""
    for symbol in range(len(steps)):
        step = steps[symbol]
        weight = ROOTS[step % FRACTIONS] * _POWERS[height - step // FRACTIONS + _LEAST_POWER]
        weights[symbol] = max(int64(weight), int64(1))


@compiled_exactly
def _learned(before: Counts, mirrors: Counts, symbol: int) -> int:
    """The weight that counts of words, ``[symbols]``, add to a symbol."""
    learned: int = COUNT * (before[symbol] + before[mirrors[symbol]])
    return learned


@compiled_exactly
def block_weights(steps: Counts, height: int, mirrors: Counts, before: Counts, group: Counts, weights: Counts) -> None:
    """The weights that blocks are coded with: those of the prior, and what earlier blocks add.

    Args:
        steps: ``[groups, symbols]``, see :func:`prior_steps`.
        height: of the prior.
        mirrors: ``[symbols]``: the symbol that a word counts for a second time.
        before: ``[blocks, symbols]``: how often each symbol occurs in earlier blocks.
        group: ``[blocks]``.
        weights: ``[blocks, symbols]``, the result.
    """
    for block in range(len(before)):
        _prior(steps[group[block]], height, weights[block])
        for symbol in range(before.shape[1]):
            weights[block, symbol] += _learned(before[block], mirrors, symbol)


@compiled_exactly
def adaptive_bits(
    steps: Counts,
    heights: Counts,
    mirrors: Counts,
    before: Counts,
    seen: Counts,
    group: Counts,
    bits: Doubles,
) -> int:
    """Bits of blocks under priors that adapt, of the best height of the prior.

    Args:
        steps: as for :func:`block_weights`, like ``before`` and ``group``.
        heights: ``[heights]``, those that are tried.
        mirrors: ``[symbols]``: the symbol that a word counts for a second time, if it does.
        before: see ``steps``.
        seen: ``[blocks, symbols]``: how often each symbol occurs.
        group: see ``steps``.
        bits: ``[2]``, the result: with words that count for their mirrors, and without.

    Returns:
        The place of the best height with words that do.
    """
    best, own = 0, np.arange(len(mirrors))
    bits[0] = math.inf
    for place in range(len(heights)):
        found = _bits_of_blocks(steps, heights[place], mirrors, before, seen, group)
        if found < bits[0]:
            best, bits[0] = place, found
    bits[1] = _bits_of_blocks(steps, heights[best], own, before, seen, group)
    return best


@compiled_exactly
def _bits_of_blocks(steps: Counts, height: int, mirrors: Counts, before: Counts, seen: Counts, group: Counts) -> float:
    """Bits of blocks; arguments as for :func:`block_weights` and :func:`adaptive_bits`."""
    bits, last, prior = 0.0, int64(-1), np.empty(before.shape[1], int64)
    for block in range(len(seen)):
        if group[block] != last:
            last = group[block]
            _prior(steps[last], height, prior)
        total, count, weighted = int64(0), int64(0), float64(0)
        for symbol in range(seen.shape[1]):
            weight = prior[symbol] + _learned(before[block], mirrors, symbol)
            total += weight
            if seen[block, symbol]:
                count += seen[block, symbol]
                weighted += float64(seen[block, symbol]) * math.log2(float64(weight))
        bits += float64(count) * math.log2(float64(total)) - weighted
    return bits
