"""Which adaptive model suits a stream: those that are tried, and how many bits its words take under each."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.models.adaptive import AdaptiveModel, Alphabet, Blocks, Counts
from lightning_compress.coding.models.generalized_gaussian import SCALES, SHAPES, powers, prior, prior_steps, slopes
from lightning_compress.runtime.compiler import has_compiler

_TRIED_HEIGHTS = (8, 12, 14, 16, 20, 30)
_TRIED_SHAPES = 2
_COARSE = 8
_BATCH = 1 << 15  # weights that are computed together
_CACHED_PARTITIONS = 1 << 8  # 16 KiB each for 256 symbols
_CACHED_ALPHABETS = 1 << 6  # 4 KiB each for 256 symbols
_TABLE_LENGTH = (1 << 8) + 1  # words of one byte have smaller magnitudes; the tables take 5 MB


def fit(blocks: Blocks) -> tuple[AdaptiveModel, Counts]:
    """The model with the fewest estimated bits among those tried, and the scale number of each group."""
    groups = np.add.reduceat(blocks.seen, np.flatnonzero(np.diff(blocks.group, prepend=-1)))
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
    if has_compiler():
        from lightning_compress.coding.models.fit_loops import adaptive_bits

        steps = prior_steps(model.alphabet.magnitudes, model.shape, scales)
        bits = np.empty(len(heights))
        adaptive_bits(steps, np.array(heights), model.mirrors, blocks.before, blocks.seen, blocks.group, bits)
        return list(map(float, bits))
    learned, step = model.learned(blocks.before), max(1, _BATCH // blocks.seen.size)
    found: list[float] = []
    for start in range(0, len(heights), step):
        some = np.array(heights[start : start + step])
        starts = prior(model.alphabet.magnitudes, model.shape, scales, some)
        weights = np.take(starts, blocks.group, axis=1) + learned  # C order: it affects how sums are rounded
        rates = np.log2(weights.sum(axis=-1, keepdims=True)) - np.log2(weights)
        found += (blocks.seen * rates).reshape(len(starts), -1).sum(axis=1).tolist()
    return found


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
