"""A cut: the smallest weights of a group, by a threshold and how many of those exactly at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lightning_compress.runtime import empty
from lightning_compress.weights.magnitude.keys import SIGNED_WORDS, compiled_words, magnitude_keys
from lightning_compress.weights.values.flat_values import true_positions


@dataclass(frozen=True)
class Cut:
    """The smallest weights of a group: those with a key below ``key``, and the first ``ties`` of those equal to it.

    Attributes:
        key: the threshold, a magnitude key (see :func:`magnitude_keys`).
        ties: how many of the weights exactly at the threshold belong to the cut, in the group's order.
        double: whether keys are of float64 magnitudes.
    """

    key: int
    ties: int = 0
    double: bool = False

    @property
    def magnitude(self) -> float:
        """The threshold as a magnitude |w|."""
        bits = torch.tensor(self.key, dtype=torch.int64 if self.double else torch.int32)
        return float(bits.view(torch.float64 if self.double else torch.float32))

    def split(self, weights: Tensor) -> tuple[Tensor, Cut]:
        """Which of these weights belong to the cut (``[n]``, bool), and the cut for the group's next weights."""
        words = compiled_words(weights, self.double)
        if words is not None:
            from lightning_compress.weights.magnitude.loops import mark_smallest

            chosen = empty([len(weights)], torch.bool)
            return chosen, self._left(mark_smallest(words, self.key, self.ties, chosen.numpy()))
        keys = magnitude_keys(weights, self.double)
        chosen = keys < self.key
        if not self.ties:
            return chosen, self
        at_border = true_positions(keys == self.key)[: self.ties]
        chosen[at_border] = True
        return chosen, self._left(self.ties - len(at_border))

    def after(self, weights: Tensor) -> Cut:
        """The cut for the group's next weights."""
        words = compiled_words(weights, self.double)
        if words is None:
            return self.split(weights)[1]
        from lightning_compress.weights.magnitude.loops import count_equal

        return self._left(max(0, self.ties - count_equal(words, self.key)))

    def zeroed(self, weights: Tensor) -> tuple[Tensor, Cut]:
        """``[n]``: these weights with 0 in the place of those that belong to the cut, and the cut for the next ones."""
        words = compiled_words(weights, self.double) if weights.dtype == torch.float32 else None
        if words is not None:
            from lightning_compress.weights.magnitude.loops import zero_smallest

            result = empty(weights.shape, torch.float32)
            return result, self._left(zero_smallest(words, self.key, self.ties, result.numpy().view(np.uint32)))
        chosen, left = self.split(weights)
        bits = weights.view(SIGNED_WORDS[weights.itemsize])  # a selection by a mask takes five times as long
        return (bits & (chosen.to(bits.dtype) - 1)).view(weights.dtype), left

    def _left(self, ties: int) -> Cut:
        return self if ties == self.ties else replace(self, ties=ties)
