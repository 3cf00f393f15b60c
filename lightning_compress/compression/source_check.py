"""Compares what a payload restores with its source: within the bounds that the methods of a rule state.

A checksum shows that a file holds what was to be stored. This shows that what was to be stored is near the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize import FLOATS, FittedQuantizer, Payload, Storage
from lightning_compress.runtime.compiler import loops_take, read_only
from lightning_compress.weights import flattened, true_positions

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
        source, found = flattened(self.tensor), flattened(restored)
        bounds = self._bounds(payload, source)
        if bounds is None:
            return True
        pruned = source.new_zeros(0, dtype=torch.bool) if self.pruned is None else self.pruned
        return all(
            self._chunk_holds(source[start:stop], found[start:stop], bounds(start, stop), pruned[start:stop])
            for start, stop in ((start, start + _CHUNK) for start in range(0, len(source), _CHUNK))
        )

    def _bounds(self, payload: Payload, source: Tensor) -> Callable[[int, int], Tensor] | None:
        """For the weights from one place to another their bounds, or one for all; None where no bound is stated.

        The bound is that of the quantizer, or of the storage where there is none.
        """
        owner = self.storage if self.quantizer is None else self.quantizer
        stated: Callable[..., Any] | None = getattr(owner, "error_bound", None)
        if stated is None:
            return None
        if self.quantizer is None:
            return lambda start, stop: _flat_bound(stated(source[start:stop]), source[start:stop], owner)
        bound = stated(self.tensor, payload, guide=self.guide)
        if bound is None:
            return None
        whole = _flat_bound(bound, source, owner)
        return lambda start, stop: whole if len(whole) == 1 else whole[start:stop]

    def _chunk_holds(self, weights: Tensor, values: Tensor, bounds: Tensor, pruned: Tensor) -> bool:
        """Bounds and pruned weights of ``[m]`` each, or one and none; the few that are not plainly near are looked at
        in float64. Infinity and NaN are within no bound."""
        if loops_take(values):
            from lightning_compress.compression.check_loops import count_far

            given = (read_only(np.ascontiguousarray(each.numpy())) for each in (weights, values, bounds, pruned))
            far_weights = count_far(*given)
            if far_weights <= 0:
                return far_weights == 0
        if len(pruned) and bool((pruned & (values != 0)).any()):
            return False
        bounds = bounds.clamp(max=torch.finfo(bounds.dtype).max)
        is_near = (values - weights).abs() <= bounds
        far = true_positions(~(is_near | pruned if len(pruned) else is_near))
        if not len(far):
            return True
        weights, values = weights[far].double(), values[far].double()
        bounds = bounds.expand(far.shape).double() if len(bounds) == 1 else bounds[far].double()
        error = (values - weights).abs()
        rounding = _ROUNDINGS * _rounding(weights.abs() + bounds, self.tensor.dtype)
        is_same = (values == weights) | (values.isnan() & weights.isnan())
        stored: Callable[[Tensor], Tensor] | None = getattr(self.storage, "error_bound", None)
        is_stored = torch.ones_like(is_same) if stored is None else error <= stored(weights)
        is_near = is_stored | (error <= bounds * _SLACK + rounding)
        return bool((is_same | (is_near & error.isfinite())).all())


def _flat_bound(bound: Tensor | float, weights: Tensor, owner: object) -> Tensor:
    """``[n]`` or ``[1]``: a bound for each weight or for all, in the type that it is compared in."""
    wide = torch.float64 if weights.dtype == torch.float64 else torch.float32
    if not isinstance(bound, Tensor):
        return torch.tensor([float(bound)], dtype=wide)
    if bound.numel() not in (1, len(weights)):
        raise PlanError(
            f"the error bound of {type(owner).__name__} has the shape {list(bound.shape)}, expected one number, or one "
            f"for each of the {len(weights)} weights"
        )
    return flattened(bound).to(wide)


def _rounding(magnitudes: Tensor, dtype: torch.dtype) -> Tensor:
    """``[m]`` float64: how far a number of the dtype may be from its neighbours."""
    info = torch.finfo(dtype)
    return magnitudes * info.eps + info.smallest_normal * info.eps
