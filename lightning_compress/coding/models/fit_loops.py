"""How many bits the words of a stream take under models that are tried: compiled loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import float64, int64, uint64
from numpy.typing import NDArray

from lightning_compress.coding.models.generalized_gaussian import COUNT, FRACTIONS, ROOTS
from lightning_compress.runtime.compilation import compiled_exactly

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@compiled_exactly
def static_bits(
    groups: Counts, raised: Doubles, rates: Doubles, slopes: Doubles, bits: Doubles, scales: Counts
) -> None:
    """Bits of groups under priors that do not adapt.

    Args:
        groups: ``[groups, symbols]``: how often each symbol occurs.
        raised: ``[shapes, symbols]``: magnitudes raised to the exponent of each shape.
        rates: ``[shapes, scales]``: log2 of the partition functions.
        slopes: ``[scales]``.
        bits: ``[shapes]``, a result: those of each shape, at the best scale of each group.
        scales: ``[shapes, groups]``, a result: places of the best scales.
    """
    for shape in range(len(raised)):
        bits[shape] = 0.0
        for group in range(len(groups)):
            count, moment = float64(0), float64(0)
            for symbol in range(groups.shape[1]):
                number = float64(groups[group, symbol])
                count += number
                moment += number * raised[shape, symbol]
            least = math.inf
            for scale in range(len(slopes)):
                found = count * rates[shape, scale] + moment * slopes[scale]
                if found < least:
                    least, scales[shape, group] = found, scale
            bits[shape] += least


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
def _weight(step: int, height: int) -> int:
    """⌊2^(height − step / 64)⌋, at least 1."""
    weight: int = max(int64(math.floor(math.ldexp(ROOTS[step % FRACTIONS], height - step // FRACTIONS))), int64(1))
    return weight


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
        for symbol in range(before.shape[1]):
            count = before[block, symbol] + before[block, mirrors[symbol]]
            weights[block, symbol] = _weight(steps[group[block], symbol], height) + COUNT * count


@compiled_exactly
def adaptive_bits(
    steps: Counts,
    heights: Counts,
    mirrors: Counts,
    before: Counts,
    seen: Counts,
    group: Counts,
    bits: Doubles,
) -> None:
    """Bits of blocks under priors that adapt, for each height of the prior.

    Args:
        steps: as for :func:`block_weights`, like ``mirrors``, ``before`` and ``group``.
        heights: ``[heights]``.
        mirrors: see ``steps``.
        before: see ``steps``.
        seen: ``[blocks, symbols]``: how often each symbol occurs.
        group: see ``steps``.
        bits: ``[heights]``, the result.
    """
    weights = np.empty_like(before)
    for place in range(len(heights)):
        block_weights(steps, heights[place], mirrors, before, group, weights)
        bits[place] = 0.0
        for block in range(len(seen)):
            total, count, weighted = int64(0), int64(0), float64(0)
            for symbol in range(seen.shape[1]):
                total += weights[block, symbol]
                if seen[block, symbol]:
                    count += seen[block, symbol]
                    weighted += float64(seen[block, symbol]) * math.log2(float64(weights[block, symbol]))
            bits[place] += float64(count) * math.log2(float64(total)) - weighted
