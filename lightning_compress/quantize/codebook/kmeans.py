"""Weight clustering: every weight becomes the number of the nearest of k centroids.

Source: Han, Mao and Dally 2016, "Deep Compression", section 3: weights of a layer share k values, found by k-means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.codebook.lloyd import Start, cluster, points
from lightning_compress.quantize.codebook.outliers import checked_share, is_inside, largest_inside
from lightning_compress.quantize.codebook.payload import CodebookPayload, distance_bound
from lightning_compress.quantize.codebook.payload_from_codes import OUTSIDE, payload_from_codes
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.quantizer import Storage, with_outliers
from lightning_compress.quantize.sharing import Sharing, check_sharing, group_key
from lightning_compress.weights import chunks, true_positions

MAX_CLUSTERS = 4096
_FLOAT32_MAX = float(torch.finfo(torch.float32).max)


@dataclass(frozen=True)
class KMeans:
    """Quantize weights to the centroids of k clusters of least squared error.

    Weights that are 0, pruned ones among them, are no part of the clusters and stay exactly 0.

    Attributes:
        clusters: k, from 1 to 4096; a tensor of fewer distinct weights keeps those.
        scope: one codebook for each ``tensor``, for each ``class``, or for all weights of the rule (``model``).
        start: where Lloyd's algorithm begins: ``k-means++``, or ``quantile`` (parts of equally many weights), which is
            as good for few clusters, and for many has too few of them where weights are large and rare.
        outliers: share of the weights of largest magnitude, in the scope, that are kept apart, 0 to 1.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "k-means"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True
    label: ClassVar[str] = "k-means"

    clusters: int
    scope: Sharing = "tensor"
    start: Start = "k-means++"
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if type(self.clusters) is not int or not 1 <= self.clusters <= MAX_CLUSTERS:
            raise PlanError(f"KMeans: clusters is {self.clusters!r}, expected a whole number from 1 to {MAX_CLUSTERS}")
        check_sharing("KMeans", self.scope)
        if self.start not in get_args(Start):
            raise PlanError(f"KMeans: start {self.start!r} is unknown; write one of {', '.join(get_args(Start))}")
        object.__setattr__(self, "outliers", checked_share("KMeans", self.outliers))

    def scaled(self, factor: float) -> KMeans:
        """Itself: it has no step."""
        return self

    def group(self, name: str, class_name: str) -> str:
        """Key of the weights that share centroids with this tensor."""
        return group_key(self.scope, name, class_name)

    def fit(self, tensors: Sequence[Tensor]) -> FittedKMeans:
        """The centroids of one group of tensors."""
        bound = min(largest_inside(tensors, self.outliers), _FLOAT32_MAX)
        centroids = cluster(points(_clustered(tensors, bound)), self.clusters, self.start)
        return FittedKMeans(torch.from_numpy(centroids), bound)


@dataclass(frozen=True, eq=False)
class FittedKMeans:
    """Centroids, ``[k]`` float64, rising, and the largest magnitude that is no outlier."""

    centroids: Tensor
    bound: float

    def store(
        self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None
    ) -> CodebookPayload:
        """See :class:`FittedQuantizer`."""
        values, borders = self._values_and_borders(tensor)
        codes = torch.empty(tensor.numel(), dtype=torch.int32)
        zero, start = len(self.centroids), 0
        for chunk in chunks(tensor):
            part = codes[start : start + len(chunk)]
            part.copy_(torch.bucketize(chunk.contiguous(), borders, out_int32=True))
            part[~is_inside(chunk, self.bound) | (zero == 0)] = OUTSIDE
            part[chunk == 0] = zero
            start += len(chunk)
        if pruned is not None:
            codes[pruned] = zero
        return payload_from_codes(tensor, codes, values, storage)

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        """See :class:`FittedQuantizer`."""
        flat = tensor.detach().reshape(-1).contiguous()
        values, borders = self._values_and_borders(flat)
        nearest = values.index_select(0, torch.bucketize(flat, borders, out_int32=True))
        is_outlier = ~is_inside(flat, self.bound) | (len(self.centroids) == 0)
        is_zero = flat == 0 if pruned is None else (flat == 0) | pruned
        return with_outliers(nearest, flat, is_outlier, storage).masked_fill_(is_zero, 0).reshape(tensor.shape)

    def error_bound(self, tensor: Tensor, payload: Payload, *, guide: object = None) -> Tensor:
        """See :class:`FittedQuantizer`: half the largest distance of neighbouring centroids, and 0 for weights of 0."""
        bound = distance_bound(tensor, self.centroids.to(tensor.dtype), torch.ones((), dtype=torch.float64), 0.5)
        return bound.masked_fill_(tensor.detach().reshape(-1) == 0, 0)

    def _values_and_borders(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """``[k + 1]`` centroids and 0, and ``[k − 1]`` middles of neighbours, in the tensor's dtype, on its device."""
        values = torch.cat([self.centroids.to(tensor), tensor.new_zeros(1)])
        centroids = values[:-1].double()
        return values, ((centroids[:-1] + centroids[1:]) / 2).to(tensor.dtype)


def _clustered(tensors: Sequence[Tensor], bound: float) -> Iterator[Tensor]:
    for tensor in tensors:
        for chunk in chunks(tensor):
            kept = is_inside(chunk, bound) & (chunk != 0)
            yield chunk if bool(kept.all()) else chunk[true_positions(kept)]
