"""The contract of a quantizer: what a plan says, what a group of tensors gives, what one tensor becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload


class Storage(Protocol):
    """A method that keeps values without a codebook: ``Half`` or ``Raw``."""

    def store(self, values: Tensor) -> RawPayload | HalfPayload:
        """The payload of a tensor of any dtype."""
        ...


class FittedQuantizer(Protocol):
    """A quantizer whose parameters are known."""

    def store(self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None) -> Payload:
        """The payload of one tensor. Whatever it cannot hold, NaN and infinity always, goes through ``storage``.

        Args:
            tensor: a tensor of the group that was fitted, on the CPU; float16, bfloat16, float32 or float64.
            storage: for what the quantizer leaves out.
            pruned: ``[n]``, bool, the elements that come back as exact 0; None where none are pruned. Given only to
                quantizers whose ``holds_zero`` is true.
            guide: what calibration measured for this tensor; quantizers that know no calibration leave it unused.
        """
        ...


class Quantizer(Protocol):
    """A frozen dataclass that stands between ``Prune`` and ``Half`` or ``Raw`` in a rule.

    Attributes:
        id: its name in plans.
        lossy: whether restored weights differ from their source.
    """

    id: ClassVar[str]
    lossy: ClassVar[bool]

    @property
    def holds_zero(self) -> bool:
        """Whether pruned weights come back as exact 0, so that ``Prune`` may stand before it."""
        ...

    def group(self, name: str, class_name: str) -> str:
        """Key of the tensors that share parameters with this one."""
        ...

    def fit(self, tensors: Sequence[Tensor]) -> FittedQuantizer:
        """The parameters for one group of tensors, whose pruned weights are 0.

        The tensors may be made anew each time that they are asked for, so a fit goes through them as seldom as it can.
        """
        ...
