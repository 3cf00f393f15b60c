"""How many bits the words of a stream take under models that are tried: compiled loops."""

from __future__ import annotations

import math

import numpy as np
from numpy import float64, int64
from numpy.typing import NDArray

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
def adaptive_bits(starts: Counts, learned: Counts, seen: Counts, group: Counts, bits: Doubles) -> None:
    """Bits of blocks under priors that adapt, for each height of the prior.

    Args:
        starts: ``[heights, groups, symbols]``: weights of the prior.
        learned: ``[blocks, symbols]``: what earlier blocks add to them.
        seen: ``[blocks, symbols]``: how often each symbol occurs.
        group: ``[blocks]``.
        bits: ``[heights]``, the result.
    """
    for height in range(len(starts)):
        bits[height] = 0.0
        for block in range(len(seen)):
            total, count, weighted = int64(0), int64(0), float64(0)
            for symbol in range(seen.shape[1]):
                weight = starts[height, group[block], symbol] + learned[block, symbol]
                total += weight
                if seen[block, symbol]:
                    count += seen[block, symbol]
                    weighted += float64(seen[block, symbol]) * math.log2(float64(weight))
            bits[height] += float64(count) * math.log2(float64(total)) - weighted
