"""n-bit interval quantization (reference paper, section 3.2).

An interval centred on 0 covers a chosen share of the weights. It is cut into 2ⁿ pieces of equal length; a weight inside
becomes the number of its piece, a weight outside is an outlier. A number is restored to the left, middle or right value
of its piece::

        −T        0         T
    ····|──┬──┬──┼──┬──┬──|····      step = 2·T / 2ⁿ,  index = ⌊(w + T) / step⌋
      outliers  2ⁿ pieces   outliers
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_compress.errors import PlanError
from lightning_compress.quantize.interval.indexed_payloads import payload_from_indices
from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.quantizer import Storage, with_outliers
from lightning_compress.quantize.sharing import Sharing, check_sharing, group_key
from lightning_compress.runtime import empty
from lightning_compress.runtime.compiler import loops_take, read_only
from lightning_compress.weights import smallest_magnitudes, true_positions

Restore = Literal["left", "middle", "right"]
MAX_BITS = 16
_WIDEST = 2.0**1022  # twice this is still a float64
_POSITION = {"left": 0.0, "middle": 0.5, "right": 1.0}


@dataclass(frozen=True)
class Interval:
    """Quantize the weights of a zero-centred interval to 2ⁿ values.

    Attributes:
        bits: n, from 1 to 16.
        coverage: share of the weights inside the interval, 0 to 1; pruned weights count, as the zeros they are.
        restore: which value of its piece an index stands for.
        scope: one interval for all weights of the rule (``model``, as in the paper), per class or per tensor.

    Raises:
        PlanError: a value out of range.
    """

    id: ClassVar[str] = "interval"
    role: ClassVar[str] = "quantize"
    lossy: ClassVar[bool] = True
    holds_zero: ClassVar[bool] = True
    takes_factors: ClassVar[bool] = True

    bits: int
    coverage: float = 0.98
    restore: Restore = "middle"
    scope: Sharing = "model"

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= MAX_BITS:
            raise PlanError(f"Interval: bits is {self.bits!r}, expected a whole number from 1 to {MAX_BITS}")
        if isinstance(self.coverage, bool) or not isinstance(self.coverage, (int, float)):
            raise PlanError(f"Interval: coverage is {self.coverage!r}, expected a fraction such as 0.98")
        object.__setattr__(self, "coverage", float(self.coverage))
        if not 0 <= self.coverage <= 1:
            raise PlanError(
                f"Interval: coverage is {self.coverage}, expected a fraction from 0 to 1; for 98 % write 0.98"
            )
        if self.restore not in get_args(Restore):
            raise PlanError(
                f"Interval: restore {self.restore!r} is unknown; write one of {', '.join(get_args(Restore))}"
            )
        check_sharing("Interval", self.scope)

    @property
    def label(self) -> str:
        """The bits of an index."""
        return f"{self.bits} bit{'s' if self.bits > 1 else ''}"

    def scaled(self, factor: float) -> Interval:
        """With as many bits fewer as the factor has octaves, rounded to whole bits, from 1 to 16."""
        bits = self.bits - round(math.log2(factor))
        return replace(self, bits=min(max(bits, 1), MAX_BITS))

    def group(self, name: str, class_name: str) -> str:
        """Key of the weights that share an interval with this tensor."""
        return group_key(self.scope, name, class_name)

    def fit(self, tensors: Sequence[Tensor]) -> FittedInterval:
        """The narrowest interval that covers the share of one group of tensors, rounded up to whole weights.

        It never includes NaN or infinity. Its width is negative where it covers nothing: at a coverage of 0, or where
        no weight is finite.
        """
        weights = sum(tensor.numel() for tensor in tensors)
        cut = smallest_magnitudes(tensors, [math.ceil(Fraction(repr(self.coverage)) * weights)])[0]
        return FittedInterval(self, min(cut.magnitude, _WIDEST) if cut.ties else -1.0)


@dataclass(frozen=True)
class FittedInterval:
    """An interval of known width: ``[−half_width, half_width]``."""

    method: Interval
    half_width: float

    @property
    def step(self) -> float:
        """Length of a piece."""
        return max(2 * self.half_width / (1 << self.method.bits), 0.0)

    @property
    def codebook(self) -> Codebook:
        """The values that the indices stand for."""
        first = (_POSITION[self.method.restore] * self.step) - max(self.half_width, 0.0)
        return Codebook(first, self.step, 1 << self.method.bits)

    def indices(self, weights: Tensor) -> Tensor:
        """``[n]`` floating-point weights on the CPU → ``[n]`` whole indices, OUTLIER for those outside (NaN too)."""
        if loops_take(weights):
            from lightning_compress.quantize.interval.loops import find_pieces

            found = empty([len(weights)], self.codebook.index_dtype)
            values = read_only(np.ascontiguousarray(weights.numpy()))
            find_pieces(values, self.half_width, self.step or 1.0, self.codebook.levels, found.numpy())
            return found
        indices = self._pieces(weights)
        indices[true_positions(self._is_outside(weights))] = self.codebook.outlier
        return indices

    def _pieces(self, weights: Tensor) -> Tensor:
        """``[n]`` int32: the number of the piece that each weight lies in, or is nearest to; of NaN, any number."""
        pieces = weights.to(torch.float64, copy=True).add_(self.half_width).div_(self.step or 1.0)
        return pieces.clamp_(0, (1 << self.method.bits) - 1).to(torch.int32)

    def _is_outside(self, weights: Tensor) -> Tensor:
        """``[n]``, bool: which weights are outside the interval, or NaN."""
        is_exact = float(torch.tensor(self.half_width, dtype=weights.dtype)) == self.half_width
        return ~((weights if is_exact else weights.double()).abs() <= self.half_width)

    def store(
        self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None
    ) -> IndexedPayload:
        """See :class:`FittedQuantizer`."""
        return payload_from_indices(tensor, self.codebook, self.indices, storage, pruned)

    def error_bound(self, tensor: Tensor, payload: Payload, *, guide: object = None) -> float:
        """See :class:`FittedQuantizer`: half a piece where the middle is restored, else a piece."""
        return self.step * (0.5 if self.method.restore == "middle" else 1.0)

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        """See :class:`FittedQuantizer`."""
        flat = tensor.detach().reshape(-1)
        is_outside = self._is_outside(flat)
        pieces = self._pieces(flat).masked_fill_(is_outside, 0)
        values = self.codebook.values(flat.dtype).to(flat.device).index_select(0, pieces)
        values = with_outliers(values, flat, is_outside, storage)
        return (values if pruned is None else values.masked_fill_(pruned, 0)).reshape(tensor.shape)
