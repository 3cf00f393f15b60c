"""A plan, and what calibration measured for the quantizers that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightning_compress.archive import Archive
from lightning_compress.compression.payloads import CodedTensor, TensorWork
from lightning_compress.compression.pipeline import Source, compress, compress_together
from lightning_compress.plan import Plan
from lightning_compress.weights import Weight, Weights


@dataclass(frozen=True, eq=False)
class GuidedPlan:
    """How a model is compressed, whatever its weights are.

    Attributes:
        plan: the plan.
        guidance: as for :func:`compress`.
    """

    plan: Plan
    guidance: Mapping[str, object] = field(default_factory=dict)

    def compress(self, source: Source, *, on_tensor: Callable[[Weight], None] | None = None) -> Archive:
        """The archive of a model; arguments and errors are those of :func:`compress`."""
        return compress(source, self.plan, guidance=self.guidance, on_tensor=on_tensor)

    def compress_together(
        self, weights: Weights, coded: Callable[[Sequence[Weight], Sequence[TensorWork]], Iterable[CodedTensor]]
    ) -> Archive:
        """The archive of weights that several processes code; arguments as for :func:`compress_together`."""
        return compress_together(weights, self.plan, self.guidance, coded)
