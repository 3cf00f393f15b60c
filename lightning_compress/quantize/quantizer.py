"""The contracts of a quantizer and of a storage: what stands in a plan, and what becomes of one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import Raw, RawPayload


class Storage(Protocol):
    """A method that keeps values without a codebook: ``Half`` or ``Raw``.

    A storage may also have ``error_bound(values) -> Tensor``: ``[n]`` float64 values → ``[n]``, how far from each of
    them what it keeps may be. What it keeps is compared with its source only if it has.
    """

    def store(self, values: Tensor) -> RawPayload | HalfPayload:
        """The payload of a tensor of any dtype."""
        ...

    def quantize(self, values: Tensor) -> Tensor:
        """What ``store(values)`` restores to, element by element, as a new tensor on the same device."""
        ...


class FittedQuantizer(Protocol):
    """A quantizer whose parameters are known.

    It may also have ``error_bound(tensor, payload, *, guide=None) -> float | Tensor | None``: how far from its source
    each weight of the tensor may be that is neither pruned nor left to the storage, given the payload that ``store``
    made; one number, or one for each weight; None where there is no bound. What a payload restores is compared with its
    source before it is written, and the tensor is kept exactly if a weight is outside. Without this method it is not.
    """

    def store(self, tensor: Tensor, storage: Storage, *, pruned: Tensor | None = None, guide: object = None) -> Payload:
        """The payload of one tensor. Weights that it cannot hold, always NaN and infinity, go through ``storage``.

        Args:
            tensor: a tensor of the group that was fitted, on the CPU; float16, bfloat16, float32 or float64.
            storage: for the weights that the quantizer leaves out.
            pruned: ``[n]``, bool, the elements that come back as exact 0; None where none are pruned. Given only to
                quantizers whose ``holds_zero`` is true.
            guide: what calibration measured for this tensor; quantizers that know no calibration leave it unused.
        """
        ...

    def quantize(
        self, tensor: Tensor, storage: Storage | None = None, *, pruned: Tensor | None = None, guide: object = None
    ) -> Tensor:
        """What ``store(tensor, storage, pruned=pruned, guide=guide)`` restores to, without making the payload.

        On the CPU the result is equal bit for bit; on another device sums may be rounded otherwise, which can change a
        scale by its last bits. No gradient flows through it.

        Args:
            tensor: as for :meth:`store`, on any device.
            storage: for the weights that the quantizer leaves out; None leaves them as they are, as ``Raw()`` does.
            pruned: as for :meth:`store`, on the device of the tensor.
            guide: as for :meth:`store`.

        Returns:
            A new tensor of the same shape, dtype and device.
        """
        ...


class Quantizer(Protocol):
    """A frozen dataclass that stands between ``Prune`` and ``Half`` or ``Raw`` in a rule.

    Attributes:
        id: its name in plans.
        role: ``quantize``.
        lossy: whether restored weights differ from their source.
        takes_factors: whether ``LowRank`` may stand before it. Its payload then stands inside another, so it is one of
            ``NESTABLE_PAYLOADS``.
    """

    id: ClassVar[str]
    role: ClassVar[str]
    lossy: ClassVar[bool]
    takes_factors: ClassVar[bool]

    @property
    def holds_zero(self) -> bool:
        """Whether pruned weights come back as exact 0, so that ``Prune`` may stand before it."""
        ...

    @property
    def label(self) -> str:
        """A short description with the main parameter, for tables and charts."""
        ...

    def scaled(self, factor: float) -> Quantizer:
        """The quantizer with a step this many times as large; itself where it has no step."""
        ...

    def group(self, name: str, class_name: str) -> str:
        """Key of the tensors that share parameters with this one."""
        ...

    def fit(self, tensors: Sequence[Tensor]) -> FittedQuantizer:
        """The parameters for one group of tensors, whose pruned weights are 0.

        The tensors may be made anew at each access, so a fit accesses them as rarely as it can.
        """
        ...


def restored(
    fitted: FittedQuantizer, tensor: Tensor, storage: Storage | None, pruned: Tensor | None, guide: object
) -> Tensor:
    """``quantize`` by way of the payload: for quantizers whose choice of indices runs on the CPU alone."""
    on_cpu = None if pruned is None else pruned.cpu()
    payload = fitted.store(tensor.detach().cpu(), storage or Raw(), pruned=on_cpu, guide=guide)
    return payload.restore().to(tensor.device, copy=True)


def with_outliers(values: Tensor, source: Tensor, is_outlier: Tensor, storage: Storage | None) -> Tensor:
    """``values``, and where ``is_outlier`` the elements of ``source`` as the storage keeps them; all ``[n]``."""
    return torch.where(is_outlier, source if storage is None else storage.quantize(source), values)
