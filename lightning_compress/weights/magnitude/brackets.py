"""Finds the k-th smallest magnitude of many float32 weights in one pass, within a bracket that a sample gives.

R. W. Floyd, R. L. Rivest 1975, "Expected time bounds for selection": the ranks of a sample say between which two values
the k-th smallest surely lies, so that one pass counts those below, and only the few between are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.runtime.compiler import has_compiler_for, read_only
from lightning_compress.weights.deferred import DeferredTensor
from lightning_compress.weights.magnitude.cut import Cut
from lightning_compress.weights.magnitude.keys import magnitude_keys, needs_double
from lightning_compress.weights.magnitude.pruned import PrunedTensor
from lightning_compress.weights.values.flat_values import pieces
from lightning_compress.weights.workers import in_batches

_FEWEST = 1 << 20  # weights, for which a sample is much smaller
_SAMPLE = 1 << 18
_PART = 1 << 22
_DEVIATIONS = 5.0
_MOST_INSIDE, _FEW_INSIDE = 1 / 16, 1 << 12  # of the weights of a tensor: more are not sorted
_INFINITY = 0x7F80_0000
Keys = NDArray[np.uint32]


def cut_by_bracket(tensors: Sequence[Tensor], count: int) -> Cut | None:
    """The cut that selects so many of the smallest magnitudes, as :func:`smallest_magnitudes` has it.

    None where the bracket does not hold it or holds too much, where the cut reaches what is not finite, and where loops
    do not take the weights. Of a :class:`PrunedTensor` nothing is made: the loop leaves out what its cut takes.
    """
    weights = sum(tensor.numel() for tensor in tensors)
    if not count or weights < _FEWEST or not has_compiler_for(weights) or needs_double(tensors):
        return None
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return None
    tensors = [part for tensor in tensors for part in _parts(tensor)]
    least, most = _bracket(_sample(tensors, weights // _SAMPLE), count / weights)
    found = list(in_batches(lambda some: [_between(tensor, least, most) for tensor in some], tensors))
    if any(keys is None for some in found for _, keys in some):
        return None
    below = sum(lower for some in found for lower, _ in some)
    return _cut_within(np.concatenate([keys for some in found for _, keys in some if keys is not None]), count - below)


def _sample(tensors: Sequence[Tensor], step: int) -> Keys:
    """About every ``step``-th key, sorted."""

    def of_one(tensor: Tensor) -> Keys:
        source, cut = _source_of(tensor)
        values = torch.cat([values[::step] for values in pieces(source)])
        keys: Keys = magnitude_keys(values).numpy().view(np.uint32)
        return np.where(keys < cut.key, np.uint32(0), keys)

    found = in_batches(lambda some: np.concatenate([of_one(tensor) for tensor in some]), tensors)
    return np.sort(np.concatenate([*found]))


def _bracket(sample: Keys, share: float) -> tuple[int, int]:
    """The least and the largest key that the key of this rank can be, in all but one of a million cases."""
    rank, margin = share * len(sample), _DEVIATIONS * math.sqrt(share * (1 - share) * len(sample)) + _DEVIATIONS
    least = int(sample[int(rank - margin)]) if rank > margin else 0
    most = int(sample[int(rank + margin)]) if rank + margin < len(sample) else _INFINITY
    return least, most


def _between(tensor: Tensor, least: int, most: int) -> tuple[int, Keys | None]:
    """How many keys of a tensor are below a bracket, and those within it; None if they are too many."""
    from lightning_compress.weights.magnitude.loops import find_between

    source, left = _source_of(tensor)
    found: Keys = np.empty(_FEW_INSIDE + int(_MOST_INSIDE * source.numel()), np.uint32)
    below, filled = 0, 0
    for values in pieces(source):
        words = read_only(values.float().contiguous().numpy().view(np.uint32))
        lower, inside, ties = find_between(words, left.key, left.ties, least, most, found[filled:])
        if inside < 0:
            return 0, None
        below, filled, left = below + lower, filled + inside, replace(left, ties=ties)
    return below, found[:filled].copy()


def _source_of(tensor: Tensor) -> tuple[Tensor, Cut]:
    """A tensor, and the cut that is taken out of it."""
    return (tensor.source, tensor.cut) if isinstance(tensor, PrunedTensor) else (tensor, Cut(0))


def _parts(tensor: Tensor) -> Sequence[Tensor]:
    """A tensor in parts that several threads can take, where it is in memory."""
    return (tensor,) if isinstance(tensor, DeferredTensor) else torch.split(tensor.detach().reshape(-1), _PART)


def _cut_within(keys: Keys, rank: int) -> Cut | None:
    """The cut at the key of this rank, from 1; None if the keys do not hold it, or it is not finite."""
    if not 1 <= rank <= len(keys):
        return None
    key = int(np.partition(keys, rank - 1)[rank - 1])
    return None if key >= _INFINITY else Cut(key, rank - int((keys < key).sum()))
