"""k-means in one dimension: sorted values and their prefix sums make a round of Lloyd's algorithm k lookups.

Sources: Lloyd 1982, "Least squares quantization in PCM"; Arthur and Vassilvitskii 2007, "k-means++".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Start = Literal["quantile", "k-means++"]
_SORTED = 1 << 22
_KEY_BITS = 20
_CHUNK = 1 << 22
_ROUNDS = 2000
_SEEDS = 1 << 16
_GOLDEN = (5**0.5 - 1) / 2


class Points(NamedTuple):
    """Weights of one group in rising order.

    Attributes:
        values: ``[m]``, float64; of many weights, means of neighbours.
        counts: ``[m]``, int64, how many weights each of them stands for.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def points(pieces: Iterable[Tensor]) -> Points:
    """The weights to be clustered.

    Up to 2²² weights are sorted as they are. More are counted by the first 20 bits of their float32 words, sign,
    exponent and 11 bits of mantissa, and the weights of one such count stand at their mean: 2⁻¹² of their size at most
    from where they are.

    Args:
        pieces: flat finite weights, any number of pieces.
    """
    held: list[NDArray[np.float32]] = []
    counts, sums = np.zeros(0, np.int64), np.zeros(0)
    waiting = 0
    for piece in pieces:
        for part in torch.split(piece, _CHUNK):
            held.append(part.float().numpy())
            waiting += len(part)
            if waiting > _SORTED:
                if not len(counts):
                    counts, sums = np.zeros(1 << _KEY_BITS, np.int64), np.zeros(1 << _KEY_BITS)
                _count(held, counts, sums)
                held, waiting = [], 0
    if not len(counts):
        values = np.sort(np.concatenate([np.empty(0, np.float32), *held])).astype(np.float64)
        return Points(values, np.ones(len(values), np.int64))
    _count(held, counts, sums)
    present = np.flatnonzero(counts)
    means, present_counts = sums[present] / counts[present], counts[present]
    order = np.argsort(means, kind="stable")
    return Points(means[order], present_counts[order])


def _count(held: list[NDArray[np.float32]], counts: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    for part in held:
        keys = (part.view(np.int32) >> (32 - _KEY_BITS)) + (1 << (_KEY_BITS - 1))
        counts += np.bincount(keys, minlength=len(counts))
        sums += np.bincount(keys, part, minlength=len(sums))


def cluster(data: Points, clusters: int, start: Start) -> NDArray[np.float64]:
    """``[k]`` rising centroids, k at most ``clusters``: fewer where there are fewer distinct values.

    Rounds go on until no value changes its cluster, at most 2000 of them.
    """
    distinct = data.values[np.flatnonzero(np.diff(data.values, prepend=-np.inf))]
    if len(distinct) <= clusters:
        return distinct
    sums = _Sums.of(data)
    centroids = _quantiles(data, clusters) if start == "quantile" else _spread(data, clusters)
    edges = np.empty(0, np.int64)
    for _ in range(_ROUNDS):
        centroids = _filled(centroids, clusters, sums)
        borders = (centroids[:-1] + centroids[1:]) / 2
        moved = np.concatenate([[0], np.searchsorted(data.values, borders), [len(data.values)]])
        if np.array_equal(moved, edges):
            break
        edges = moved
        centroids = sums.means(np.unique(edges))
    return centroids


class _Sums(NamedTuple):
    """Sums over the first i points, i from 0 on: how many weights, their values, their squares."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    firsts: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, data: Points) -> _Sums:
        values, counts = data
        totals = [np.concatenate([[0], np.cumsum(t)]) for t in (counts, counts * values, counts * values * values)]
        return cls(values, totals[0].astype(np.int64), totals[1], totals[2])

    def means(self, edges: NDArray[Any]) -> NDArray[np.float64]:
        """The mean of the points between each two edges."""
        result: NDArray[np.float64] = np.diff(self.firsts[edges]) / np.diff(self.counts[edges])
        return result

    def errors(self, edges: NDArray[Any]) -> NDArray[np.float64]:
        """The squared error of the points between each two edges from their mean; 0 where there is none or one."""
        counts, firsts = np.diff(self.counts[edges]), np.diff(self.firsts[edges])
        errors = np.diff(self.squares[edges]) - firsts * firsts / np.maximum(counts, 1)
        result: NDArray[np.float64] = np.where(np.diff(edges) < 2, 0, np.maximum(errors, 0))
        return result


def _filled(centroids: NDArray[np.float64], clusters: int, sums: _Sums) -> NDArray[np.float64]:
    """As many centroids as wanted: where some are missing, the clusters of largest error are halved."""
    while len(centroids) < clusters:
        borders = (centroids[:-1] + centroids[1:]) / 2
        edges = np.concatenate([[0], np.searchsorted(sums.values, borders), [len(sums.values)]])
        errors = sums.errors(edges)
        worst = np.argsort(-errors, kind="stable")[: clusters - len(centroids)]
        worst = worst[errors[worst] > 0]
        middles = np.searchsorted(sums.values, centroids[worst])
        more = sums.means(np.unique(np.concatenate([edges, middles])))
        if len(more) <= len(centroids):
            break
        centroids = more
    return centroids


def _quantiles(data: Points, clusters: int) -> NDArray[np.float64]:
    """The middles of as many parts of equally many weights, each value once."""
    total = np.cumsum(data.counts)
    ranks = (np.arange(clusters) + 0.5) / clusters * total[-1]
    return np.unique(data.values[np.searchsorted(total, ranks)])


def _spread(data: Points, clusters: int) -> NDArray[np.float64]:
    """k-means++: each next value is drawn by its squared distance from those drawn before.

    It is drawn with the multiples of the golden ratio in place of random numbers, so that the same weights give the
    same centroids. Of very many values, every so many-th is drawn from.
    """
    stride = -(-len(data.values) // _SEEDS)
    values = data.values[::stride]
    counts = np.add.reduceat(data.counts, np.arange(0, len(data.values), stride)).astype(np.float64)
    distances = np.ones(len(values))
    chosen = np.empty(clusters)
    for i in range(clusters):
        total = np.cumsum(counts * distances)
        draw = (i + 1) * _GOLDEN % 1 * total[-1]
        chosen[i] = values[min(int(np.searchsorted(total, draw, side="right")), len(values) - 1)]
        squares = (values - chosen[i]) ** 2
        distances = squares if i == 0 else np.minimum(distances, squares)
    return np.unique(chosen)
