"""Compares what a payload restores with its source: within the bounds that the methods of a rule state.

A checksum shows that a file holds what was to be stored. This shows that what was to be stored is near the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize import FLOATS, FittedQuantizer, Payload, Storage
from lightning_compress.weights import true_positions

_CHUNK = 1 << 18
_ROUNDINGS = 4  # of a value to the dtype, on the way to a restored weight
_SLACK = 1 + 2**-9  # quotients are rounded to float32 where points are chosen


@dataclass(frozen=True, eq=False)
class SourceCheck:
    """What one rule promises for one tensor.

    Attributes:
        tensor: the source, on the CPU.
        storage: for the weights that the quantizer leaves out.
        quantizer: None where the rule has none.
        pruned: ``[n]``, bool, the weights that come back as exact 0; None where none are pruned.
        guide: what calibration measured for the tensor.
    """

    tensor: Tensor
    storage: Storage
    quantizer: FittedQuantizer | None = None
    pruned: Tensor | None = None
    guide: object = None

    def holds(self, payload: Payload, restored: Tensor) -> bool:
        """Whether every restored weight is within the bound of the quantizer or of the storage.

        NaN and infinity have to be kept. Methods that state no bound, and types that lossy methods do not take, are not
        checked.

        Raises:
            PlanError: a method states a bound of another length than the tensor's.
        """
        if restored.dtype not in FLOATS or not restored.numel() or restored.is_set_to(self.tensor):
            return True  # the last of these: a tensor that is stored as it is
        bound = self._bound(payload)
        if bound is None:
            return True
        source, found = self.tensor.detach().reshape(-1), restored.reshape(-1)
        if bound.numel() not in (1, len(source)):
            owner, shape = type(self.quantizer or self.storage).__name__, list(bound.shape)
            raise PlanError(
                f"the error bound of {owner} has the shape {shape}, expected one number, or one for each of the "
                f"{len(source)} weights"
            )
        wide = torch.promote_types(source.dtype, torch.float32)
        bound = bound.to(wide).clamp(max=torch.finfo(wide).max)  # NaN and infinity are within no bound
        spread = bound.reshape(-1) if bound.numel() > 1 else bound.reshape(1).expand(len(source))
        pruned = source.new_zeros(1, dtype=torch.bool).expand(len(source)) if self.pruned is None else self.pruned
        parts = (torch.split(each, _CHUNK) for each in (source, found, spread, pruned))
        return all(self._chunk_holds(*part) for part in zip(*parts, strict=True))

    def _bound(self, payload: Payload) -> Tensor | None:
        """Of the quantizer, or of the storage where there is none: one number, or one for each weight."""
        if self.quantizer is None:
            return self._stored_bound(self.tensor.detach())
        stated: Callable[..., Any] | None = getattr(self.quantizer, "error_bound", None)
        bound: Tensor | float | None = None if stated is None else stated(self.tensor, payload, guide=self.guide)
        return bound if bound is None or isinstance(bound, Tensor) else torch.tensor(bound, dtype=torch.float64)

    def _stored_bound(self, weights: Tensor) -> Tensor | None:
        stated: Callable[[Tensor], Tensor] | None = getattr(self.storage, "error_bound", None)
        return None if stated is None else stated(weights)

    def _chunk_holds(self, weights: Tensor, values: Tensor, bounds: Tensor, pruned: Tensor) -> bool:
        """Arguments ``[m]`` each; the few weights that are not plainly near are looked at in float64."""
        if self.pruned is not None and bool((pruned & (values != 0)).any()):
            return False
        near = (values - weights).abs() <= bounds
        far = true_positions(~(near | pruned))
        if not len(far):
            return True
        weights, values, bounds = weights[far].double(), values[far].double(), bounds[far].double()
        error = (values - weights).abs()
        rounding = _ROUNDINGS * _rounding(weights.abs() + bounds, self.tensor.dtype)
        is_same = (values == weights) | (values.isnan() & weights.isnan())
        stored = self._stored_bound(weights)
        is_stored = torch.ones_like(is_same) if stored is None else error <= stored
        is_near = is_stored | (error <= bounds * _SLACK + rounding)
        return bool((is_same | (is_near & error.isfinite())).all())


def _rounding(magnitudes: Tensor, dtype: torch.dtype) -> Tensor:
    """``[m]`` float64: how far a number of the dtype may be from its neighbours."""
    info = torch.finfo(dtype)
    return magnitudes * info.eps + info.smallest_normal * info.eps
