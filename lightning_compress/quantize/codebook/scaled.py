"""Quantizers that divide each group of weights by a scale of its own, and code what is left alike everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.codebook.codes import OUTSIDE, codebook_payload
from lightning_compress.quantize.codebook.outliers import is_inside, largest_inside
from lightning_compress.quantize.codebook.payload import CodebookPayload, Scales
from lightning_compress.quantize.payload import WORD_DTYPES
from lightning_compress.quantize.quantizer import Storage

Scope = Literal["tensor", "row"]
_ROUNDS = 4


class ScaledMethod(Protocol):
    """What such a quantizer adds. Groups are ``[groups, size]``; where ``alive`` is False, weights are 0 and not coded.

    Attributes:
        id: its name in plans.
    """

    id: ClassVar[str]

    @property
    def outliers(self) -> float:
        """Share of the weights of largest magnitude that are kept apart."""
        ...

    @property
    def scale_bytes(self) -> int:
        """Bytes of a stored scale, 1 or 2."""
        ...

    def group_size(self, row: int) -> int | None:
        """Weights that share a scale, in rows of so many; None for one scale for the whole tensor."""
        ...

    def values(self) -> Tensor:
        """``[L]``, float64: what the codes stand for, times the scale."""
        ...

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """``[groups]``, float64: the scale of each group, at least 0."""
        ...

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """``[groups, size]``, int64: numbers of values, for scales (float64) as they are stored."""
        ...


@dataclass(frozen=True)
class FittedScaled:
    """Such a quantizer for one tensor, and the largest magnitude that is no outlier."""

    method: ScaledMethod
    bound: float

    @classmethod
    def of(cls, method: ScaledMethod, tensors: Sequence[Tensor]) -> FittedScaled:
        """Fitted to the tensors of one group."""
        return cls(method, largest_inside(tensors, method.outliers))

    def store(
        self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None
    ) -> CodebookPayload:
        """See :class:`FittedQuantizer`."""
        row = tensor.shape[1:].numel() if tensor.dim() > 1 else tensor.numel()
        size = self.method.group_size(row)
        row, size = (tensor.numel(), tensor.numel()) if size is None else (row, min(size, row))
        inside = is_inside(tensor.detach().reshape(-1), self.bound)
        alive = inside if pruned is None else inside & ~pruned
        groups, living = _grouped(tensor, alive, row, size)
        factors = _stored(self.method.scales(groups, living), self.method.scale_bytes, row, size)
        scales = factors.factors()
        values = torch.cat([self.method.values(), torch.zeros(1, dtype=torch.float64)])
        grouped_codes = self.method.codes(groups, living, scales)
        if len(scales) and float(values.abs().max() * scales.max()) > torch.finfo(tensor.dtype).max:
            restored = (values[grouped_codes] * scales[:, None]).to(tensor.dtype)
            inside &= _flat(torch.isfinite(restored), row)
        codes = _flat(grouped_codes, row).to(torch.int32)
        codes[~inside] = OUTSIDE
        if pruned is not None:
            codes[pruned] = int((values == 0).byte().argmax())
        if len(scales) == 1:
            return codebook_payload(tensor, codes, (values * scales).to(tensor.dtype), storage)
        return codebook_payload(tensor, codes, values.to(tensor.dtype), storage, factors if len(scales) else None)


def check_scope(method: str, scope: object) -> None:
    """Raise a PlanError where a scale is for no known part of a tensor."""
    if scope not in ("tensor", "row"):
        raise PlanError(f"{method}: scope {scope!r} is unknown; write one of tensor, row")


def mean_size(groups: Tensor, alive: Tensor) -> Tensor:
    """``[groups]``, float64: the mean magnitude of the weights of each group; 0 where there are none."""
    return groups.abs().sum(1, dtype=torch.float64) / alive.sum(1).clamp(min=1)


def divided(groups: Tensor, scales: Tensor) -> Tensor:
    """``[groups, size]``: the weights over the scale of their group, 0 where that is 0."""
    inverse = torch.where(scales > 0, 1 / scales, torch.zeros_like(scales))
    return groups * inverse.to(groups.dtype)[:, None]


def least_squares(method: ScaledMethod, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
    """``[groups]``, float64: scales after some rounds of choosing codes, then the scale of least squared error."""
    values = method.values().to(groups.dtype)
    for _ in range(_ROUNDS):
        coded = values[method.codes(groups, alive, scales)] * alive
        products = (groups * coded).sum(1, dtype=torch.float64)
        squares = coded.square().sum(1, dtype=torch.float64)
        better = products / squares
        scales = torch.where(torch.isfinite(better), better, scales)
    return scales


def _grouped(tensor: Tensor, alive: Tensor, row: int, size: int) -> tuple[Tensor, Tensor]:
    """``[groups, size]``: the weights, at least float32, 0 where they are not alive; and whether they are alive."""
    flat = tensor.detach().reshape(-1).to(torch.promote_types(tensor.dtype, torch.float32))
    flat = flat.where(alive, flat.new_zeros(()))
    if not len(flat):
        return flat.reshape(0, 1), alive.reshape(0, 1)
    missing = -row % size
    parts = (torch.nn.functional.pad(part.reshape(-1, row), (0, missing)).reshape(-1, size) for part in (flat, alive))
    weights, living = parts
    return weights, living


def _flat(codes: Tensor, row: int) -> Tensor:
    """The codes of the elements, without those of the places that fill the last group of a row."""
    if not len(codes):
        return codes.reshape(-1)
    padded = -(-row // codes.shape[1]) * codes.shape[1]
    return codes.reshape(-1, padded)[:, :row].reshape(-1)


def _stored(scales: Tensor, width: int, row: int, size: int) -> Scales:
    """The scales as multiples of a unit, such that the largest is the largest word; a single one is exact."""
    most = (1 << (8 * width)) - 1
    scales = scales.clamp(max=torch.finfo(torch.float64).max / 2)
    unit = float(scales.max()) / most if len(scales) else 0.0
    words = scales.div(unit or 1.0).round_().clamp_(0, most).numpy()
    if len(scales) == 1:
        words, unit = np.ones(1), float(scales)
    return Scales(words.astype(WORD_DTYPES[width]), unit, row, size)
