"""A plan, and what calibration measured for the quantizers that use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lightning_compress.archive import Archive
from lightning_compress.compression.pipeline import Source, compress
from lightning_compress.plan import Plan
from lightning_compress.weights import Weight


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
