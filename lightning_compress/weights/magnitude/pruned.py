"""A tensor as pruning leaves it, whose values are made each time that they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_compress.weights.deferred import DeferredTensor
from lightning_compress.weights.magnitude.cut import Cut
from lightning_compress.weights.values.flat_values import chunks


class PrunedTensor(DeferredTensor):
    """``[n]``: a tensor with 0 in the place of what belongs to a cut.

    Attributes:
        source: the tensor, of any shape.
        cut: the part of its group's cut that applies to it.
    """

    source: Tensor
    cut: Cut

    @classmethod
    def of(cls, source: Tensor, cut: Cut) -> PrunedTensor:
        """The tensor as a cut leaves it."""

        def parts() -> Iterator[Tensor]:
            left = cut
            for chunk in chunks(source):
                part, left = left.zeroed(chunk)
                yield part

        made = cls(
            lambda: torch.cat([*parts()]),
            source.dtype,
            (source.numel(),),
            (1,),
            parts=None if isinstance(source, DeferredTensor) else parts,
        )
        made.source, made.cut = source, cut
        return made
