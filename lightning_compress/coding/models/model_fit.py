"""Which adaptive model suits a stream: those that are tried, and how many bits its words take under each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.models.adaptive import AdaptiveModel, Alphabet, Blocks, Counts
from lightning_compress.coding.models.generalized_gaussian import SCALES, SHAPES, powers, prior, prior_steps, slopes
from lightning_compress.runtime.compiler import has_compiler

Partition = tuple[NDArray[np.float64], NDArray[np.float64]]  # see _partition

_TRIED_HEIGHTS = np.array([8, 12, 14, 16, 20, 30])
_TRIED_SHAPES = 2
_COARSE = 8
_BATCH = 1 << 15  # weights that are computed together
_CACHED_PARTITIONS = 1 << 8  # 16 KiB each for 256 symbols
_CACHED_PRIORS = 1 << 5  # 50 KiB each for 256 symbols
_TABLE_LENGTH = (1 << 8) + 1  # words of one byte have smaller magnitudes; the tables take 5 MB


def fit(blocks: Blocks) -> tuple[AdaptiveModel, Counts]:
    """The model with the fewest estimated bits among those tried, and the scale number of each group."""
    groups = np.add.reduceat(blocks.seen, np.flatnonzero(np.diff(blocks.group, prepend=-1)))
    total = groups.sum(axis=0)
    median = int(np.searchsorted(np.cumsum(total), total.sum() / 2))
    priors, partition = _tried_priors(len(total), median)
    bits, _ = _static(groups, partition, _COARSE)
    found: list[tuple[float, AdaptiveModel, Counts]] = []
    for place in np.argsort(bits, kind="stable")[:_TRIED_SHAPES].tolist():
        alphabet, shape = priors[place]
        _, (scales,) = _static(groups, _partition(alphabet, (shape,), 1), 1)
        found += [
            (estimate, AdaptiveModel(alphabet, shape, height, pooled), scales)
            for estimate, height, pooled in _adaptive(alphabet, shape, scales, blocks)
        ]
    _, model, scales = min(found, key=lambda candidate: candidate[0])
    return model, scales


@lru_cache(_CACHED_PRIORS)
def _tried_priors(symbols: int, median: int) -> tuple[list[tuple[Alphabet, int]], Partition]:
    """Alphabet and shape of each prior that is tried, and the partition of all of them; see :func:`_partition`."""
    alphabets = [Alphabet(symbols, center) for center in (None, *sorted({0, median}))]
    raised, rates = zip(*(_partition(alphabet, tuple(SHAPES), _COARSE) for alphabet in alphabets), strict=True)
    priors = [(alphabet, shape) for alphabet in alphabets for shape in SHAPES]
    return priors, (np.concatenate(raised), np.concatenate(rates))


def _adaptive(alphabet: Alphabet, shape: int, scales: Counts, blocks: Blocks) -> list[tuple[float, int, bool]]:
    """Bits, height and pooling of two adaptive models: that of the best height with pooling, and without it."""
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import adaptive_bits

        steps, bits = prior_steps(alphabet.magnitudes, shape, scales), np.empty(2)
        best = adaptive_bits(steps, _TRIED_HEIGHTS, alphabet.mirrors, blocks.before, blocks.seen, blocks.group, bits)
        height = int(_TRIED_HEIGHTS[best])
        return [(float(bits[0]), height, True), (float(bits[1]), height, False)]
    pooled = _estimated(AdaptiveModel(alphabet, shape, 0, True), _TRIED_HEIGHTS, scales, blocks)
    height = int(_TRIED_HEIGHTS[pooled.index(min(pooled))])
    (alone,) = _estimated(AdaptiveModel(alphabet, shape, 0, False), np.array([height]), scales, blocks)
    return [(min(pooled), height, True), (alone, height, False)]


def _estimated(model: AdaptiveModel, heights: Counts, scales: Counts, blocks: Blocks) -> list[float]:
    """Bits of the words under the model with each of these heights."""
    learned, step = model.learned(blocks.before), max(1, _BATCH // blocks.seen.size)
    found: list[float] = []
    for start in range(0, len(heights), step):
        starts = prior(model.alphabet.magnitudes, model.shape, scales, heights[start : start + step])
        weights = np.take(starts, blocks.group, axis=1) + learned  # C order: it affects how sums are rounded
        rates = np.log2(weights.sum(axis=-1, keepdims=True)) - np.log2(weights)
        found += (blocks.seen * rates).reshape(len(starts), -1).sum(axis=1).tolist()
    return found


def _static(groups: Counts, partition: Partition, stride: int) -> tuple[NDArray[np.float64], Counts]:
    """Bits of groups, ``[groups, symbols]`` counts, under priors that do not adapt, and the best scale of each group.

    Args:
        groups: the counts.
        partition: of the priors.
        stride: only every so many scales are tried.

    Returns:
        The bits for each prior, and the scales ``[priors, groups]``.
    """
    raised, rates = partition
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import static_bits

        bits_of_priors, best = np.empty(len(raised)), np.empty((len(raised), len(groups)), np.int64)
        static_bits(groups, raised, rates, _slopes(stride), bits_of_priors, best)
        return bits_of_priors, best * stride
    counts = groups.astype(np.float64)
    moments = np.stack([counts @ row for row in raised])
    bits = counts.sum(axis=1, keepdims=True) * rates[:, None] + moments[..., None] * _slopes(stride)
    return bits.min(axis=-1).sum(axis=-1), bits.argmin(axis=-1) * stride


@lru_cache
def _slopes(stride: int) -> NDArray[np.float64]:
    """The slope of every ``stride``-th scale."""
    return slopes(np.arange(0, SCALES, stride))


@lru_cache(_CACHED_PARTITIONS)
def _partition(alphabet: Alphabet, shapes: tuple[int, ...], stride: int) -> Partition:
    """``[shapes, symbols]``: magnitudes raised to each shape; ``[shapes, scales]``: log2 of the partition functions."""
    symbols = np.bincount(alphabet.magnitudes)
    raised = [powers(alphabet.magnitudes, shape) for shape in shapes]
    rates = [np.log2(_densities(len(symbols), shape, stride) @ symbols) for shape in shapes]
    return np.stack(raised), np.stack(rates)


def _densities(length: int, shape: int, stride: int) -> NDArray[np.float64]:
    """``[scales, length]``: 2^(−a · m^(j/4)) of the magnitudes m below ``length``, for every ``stride``-th scale."""
    if length < _TABLE_LENGTH:
        return _density_table(shape, stride)[:, :length]
    return np.exp2(-_slopes(stride)[:, None] * powers(np.arange(length), shape))


@lru_cache
def _density_table(shape: int, stride: int) -> NDArray[np.float64]:
    """The densities of ``_TABLE_LENGTH`` magnitudes."""
    return _densities(_TABLE_LENGTH, shape, stride)
