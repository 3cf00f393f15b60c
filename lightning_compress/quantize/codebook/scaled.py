"""Quantizers that divide each group of weights by its scale, and take the nearest of the same few values everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.codebook.outliers import is_inside, largest_inside
from lightning_compress.quantize.codebook.payload import CodebookPayload, Scales, distance_bound
from lightning_compress.quantize.codebook.payload_from_codes import OUTSIDE, payload_from_codes
from lightning_compress.quantize.payload import WORD_DTYPES, Payload
from lightning_compress.quantize.quantizer import Storage, with_outliers

Granularity = Literal["tensor", "row"]
_ROUNDS = 4


class ScaledMethod(Protocol):
    """What distinguishes one such quantizer. Groups are ``[groups, size]``; where ``alive`` is False, weights are 0 and
    not coded.

    Attributes:
        id: its name in plans.
        border: the largest error of a weight between two values, as a share of their distance.
    """

    id: ClassVar[str]
    border: ClassVar[float]

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
        """``[L]``, float64, on the CPU: the value of each code, before it is multiplied by the scale."""
        ...

    def scales(self, groups: Tensor, alive: Tensor) -> Tensor:
        """``[groups]``, float64: the scale of each group, at least 0."""
        ...

    def codes(self, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
        """``[groups, size]``, int64: numbers of values, for scales (float64) as they are stored."""
        ...


@dataclass(frozen=True)
class FittedScaled:
    """One of these quantizers for one tensor, and the largest magnitude that is no outlier."""

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
        coded = self._coded(tensor.detach(), pruned)
        codes = _flat(coded.codes, coded.row).to(torch.int32)
        codes[~coded.inside] = OUTSIDE
        if pruned is not None:
            codes[pruned] = int((coded.values == 0).byte().argmax())
        if len(coded.scales) == 1:
            return payload_from_codes(tensor, codes, (coded.values * coded.scales).to(tensor.dtype), storage)
        scales = coded.stored_scales(self.method.scale_bytes) if len(coded.scales) else None
        return payload_from_codes(tensor, codes, coded.values.to(tensor.dtype), storage, scales)

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        """See :class:`FittedQuantizer`."""
        flat = tensor.detach().reshape(-1)
        if not len(flat):
            return tensor.detach().clone()
        coded = self._coded(tensor.detach(), pruned)
        if len(coded.scales) == 1:
            grouped = (coded.values * coded.scales).to(flat.dtype)[coded.codes]
        else:
            grouped = (coded.values.to(flat.dtype).double()[coded.codes] * coded.scales[:, None]).to(flat.dtype)
        values = with_outliers(_flat(grouped, coded.row), flat, ~coded.inside, storage)
        return (values if pruned is None else values.masked_fill_(pruned, 0)).reshape(tensor.shape)

    def error_bound(self, tensor: Tensor, payload: Payload, *, guide: object = None) -> Tensor | None:
        """See :class:`FittedQuantizer`: a share of the distance of the neighbouring values, in scales of the group."""
        if not isinstance(payload, CodebookPayload):
            return None
        return distance_bound(tensor, payload.values, payload.factors(), self.method.border)

    def _coded(self, tensor: Tensor, pruned: Tensor | None) -> _Coded:
        """Scales and codes of one tensor, on its device."""
        row = tensor.shape[1:].numel() if tensor.dim() > 1 else tensor.numel()
        size = self.method.group_size(row)
        row, size = (tensor.numel(), tensor.numel()) if size is None else (row, min(size, row))
        inside = is_inside(tensor.reshape(-1), self.bound)
        alive = inside if pruned is None else inside & ~pruned
        groups, living = _grouped(tensor, alive, row, size)
        words, unit = _scale_words(self.method.scales(groups, living), self.method.scale_bytes)
        scales = words * unit
        values = torch.cat([self.method.values(), torch.zeros(1, dtype=torch.float64)]).to(tensor.device)
        codes = self.method.codes(groups, living, scales)
        if len(scales) and float(values.abs().max() * scales.max()) > torch.finfo(tensor.dtype).max:
            restored = (values[codes] * scales[:, None]).to(tensor.dtype)
            inside &= _flat(torch.isfinite(restored), row)
        return _Coded(values, codes, scales, words, unit, inside, row, size)


class _Coded(NamedTuple):
    """One tensor in codes.

    Attributes:
        values: ``[L + 1]``, float64: those of the method, then 0.
        codes: ``[groups, size]``, int64: numbers of values.
        scales: ``[groups]``, float64: as a reader computes them.
        words: ``[groups]``, float64 whole numbers: the scales in multiples of ``unit``.
        unit: of the scales.
        inside: ``[n]``, bool: which weights are no outliers.
        row: weights in a row.
        size: weights in a group.
    """

    values: Tensor
    codes: Tensor
    scales: Tensor
    words: Tensor
    unit: float
    inside: Tensor
    row: int
    size: int

    def stored_scales(self, width: int) -> Scales:
        """The scales as a payload holds them, in words of ``width`` bytes."""
        return Scales(self.words.numpy().astype(WORD_DTYPES[width]), self.unit, self.row, self.size)


def check_granularity(method: str, scope: object) -> None:
    """Raise a PlanError where a scope is neither ``tensor`` nor ``row``."""
    if scope not in ("tensor", "row"):
        raise PlanError(f"{method}: scope {scope!r} is unknown; write one of tensor, row")


def mean_size(groups: Tensor, alive: Tensor) -> Tensor:
    """``[groups]``, float64: the mean magnitude of the weights of each group; 0 where there are none."""
    return groups.abs().sum(1, dtype=torch.float64) / alive.sum(1).clamp(min=1)


def divided(groups: Tensor, scales: Tensor) -> Tensor:
    """``[groups, size]``: the weights over the scale of their group, 0 where that is 0.

    The inverse of a subnormal scale may be infinite in the dtype of the weights; they are divided in float64 then.
    """
    inverse = torch.where(scales > 0, 1 / scales, torch.zeros_like(scales)).to(groups.dtype)
    if not bool(inverse.isinf().any()):
        return groups * inverse[:, None]
    divisors = scales.where(scales > 0, torch.full_like(scales, torch.inf))
    return (groups.double() / divisors[:, None]).to(groups.dtype)


def least_squares(method: ScaledMethod, groups: Tensor, alive: Tensor, scales: Tensor) -> Tensor:
    """``[groups]``, float64: scales after a few rounds, each of which chooses codes, then the scale of least squared
    error for them."""
    values = method.values().to(groups)
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


def _scale_words(scales: Tensor, width: int) -> tuple[Tensor, float]:
    """``[groups]`` scales as whole multiples of a unit, and the unit: the largest scale is the largest word of
    ``width`` bytes. A single scale is 1 times itself."""
    most = (1 << (8 * width)) - 1
    scales = scales.clamp(max=torch.finfo(torch.float64).max / 2)
    if len(scales) == 1:
        return torch.ones_like(scales), float(scales)
    unit = float(scales.max()) / most if len(scales) else 0.0
    return scales.div(unit or 1.0).round_().clamp_(0, most), unit
