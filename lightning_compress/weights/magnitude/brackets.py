"""Finds the k-th smallest magnitude of many float32 weights in one pass, within a bracket that a sample gives.

R. W. Floyd, R. L. Rivest 1975, "Expected time bounds for selection": the ranks of a sample say between which two values
the k-th smallest surely lies, so that one pass counts those below, and only the few between are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.runtime.compiler import has_compiler_for
from lightning_compress.weights.flat_values import chunks, sampled
from lightning_compress.weights.magnitude.cut import Cut
from lightning_compress.weights.magnitude.keys import compiled_words, magnitude_keys, needs_double
from lightning_compress.weights.workers import in_batches

_FEWEST = 1 << 20  # weights, for which a sample is much smaller
_SAMPLE = 1 << 18
_DEVIATIONS = 5.0
_MOST_INSIDE = 1 / 16  # of the weights: more are not sorted
_INFINITY = 0x7F80_0000
Keys = NDArray[np.uint32]


def cut_by_bracket(tensors: Sequence[Tensor], count: int) -> Cut | None:
    """The cut that selects so many of the smallest magnitudes, as :func:`smallest_magnitudes` has it.

    None where the bracket does not hold it or holds too much, where the cut reaches what is not finite, and where loops
    do not take the weights.
    """
    weights = sum(tensor.numel() for tensor in tensors)
    if not count or weights < _FEWEST or not has_compiler_for(weights) or needs_double(tensors):
        return None
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return None
    least, most = _bracket(_sample(tensors, weights // _SAMPLE), count / weights)

    def of_some(tensors: Sequence[Tensor]) -> tuple[int, list[Keys]]:
        below, inside = 0, []
        for chunk in (chunk for tensor in tensors for chunk in chunks(tensor)):
            lower, keys = _between(chunk, least, most, weights)
            below += lower
            inside.append(keys)
        return below, inside

    below, inside = 0, []
    for lower, keys in in_batches(of_some, tensors):
        below += lower
        inside += keys
        if sum(map(len, inside)) > _MOST_INSIDE * weights:
            return None
    return _cut_within(np.concatenate(inside), count - below)


def _sample(tensors: Sequence[Tensor], step: int) -> Keys:
    """About every ``step``-th key, sorted."""

    def of_some(tensors: Sequence[Tensor]) -> Keys:
        values = torch.cat([sampled(tensor, step) for tensor in tensors])
        keys: Keys = magnitude_keys(values).numpy().view(np.uint32)
        return keys

    return np.sort(np.concatenate([*in_batches(of_some, tensors)]))


def _bracket(sample: Keys, share: float) -> tuple[int, int]:
    """The least and the largest key that the key of this rank can be, in all but one of a million cases."""
    rank, margin = share * len(sample), _DEVIATIONS * math.sqrt(share * (1 - share) * len(sample)) + _DEVIATIONS
    least = int(sample[int(rank - margin)]) if rank > margin else 0
    most = int(sample[int(rank + margin)]) if rank + margin < len(sample) else _INFINITY
    return least, most


def _between(chunk: Tensor, least: int, most: int, weights: int) -> tuple[int, Keys]:
    """How many keys of a chunk are below a bracket, and those within it."""
    from lightning_compress.weights.magnitude.loops import find_between

    words = compiled_words(chunk, False, weights)
    assert words is not None
    found: Keys = np.empty(len(words), np.uint32)
    below, inside = find_between(words, least, most, found)
    return below, found[:inside].copy()


def _cut_within(keys: Keys, rank: int) -> Cut | None:
    """The cut at the key of this rank, from 1; None if the keys do not hold it, or it is not finite."""
    if not 1 <= rank <= len(keys):
        return None
    key = int(np.partition(keys, rank - 1)[rank - 1])
    return None if key >= _INFINITY else Cut(key, rank - int((keys < key).sum()))
