"""One-parameter families of plans: with rising strength, the archive of a model has fewer bytes.

Each part of the model may have an offset, which is added to the strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lightning_compress.archive import Archive
from lightning_compress.compression.coded_tensors import CodedTensors
from lightning_compress.compression.pipeline import compress, compress_together
from lightning_compress.plan import Plan
from lightning_compress.runtime.cached import cached_property
from lightning_compress.search.families.byte_prediction import predicted_bytes
from lightning_compress.search.propagation import ErrorPropagation
from lightning_compress.weights import Weights

_REST = ""  # the tensors of no part
_KNOTS = 2  # strengths in each unit at which bytes are predicted from a sample; interpolated between them


class Family(Protocol):
    """Archives of one model, by strength and by offsets of its parts."""

    @property
    def weakest(self) -> float:
        """The smallest strength, whose archive is nearly lossless."""
        ...

    @property
    def strongest(self) -> float:
        """The greatest strength, whose archive is the smallest of the family."""
        ...

    @property
    def shares(self) -> Mapping[str, float]:
        """Part of the model that may have an offset → its fraction of the weights of all parts; largest first.

        Empty where there is no such part.
        """
        ...

    @property
    def offsets(self) -> Mapping[str, float]:
        """Part → what is added to its strength; 0 for parts that are not there."""
        ...

    def archive(self, strength: float) -> Archive:
        """The archive itself, which takes seconds for ten million weights."""
        ...

    def predict_bytes(self, strength: float) -> float:
        """The approximate bytes of the archive; fast, and hardly ever rising with strength."""
        ...

    def with_offsets(self, offsets: Mapping[str, float]) -> Family:
        """The same family with these offsets instead; :meth:`predict_bytes` is called for hundreds of them."""
        ...

    def shares_trials_with(self, other: Family | None) -> bool:
        """Whether trials of the other family inform the surrogate of this one: true at least for other offsets."""
        ...


@dataclass(frozen=True, eq=False)
class PlanFamily:
    """The family of a plan that depends on the strength, and on an offset for each part of the model.

    Args:
        weights: the exact weights.
        plan_at: strength and offsets of parts → plan.
        weakest: as in :class:`Family`.
        strongest: as in :class:`Family`.
        parts: part of the model that may have an offset → its tensors; largest first.
        offsets: part → what is added to its strength.
        guidance: what calibration or the evaluation measured, as for :func:`compress`.
        propagation: rounds matrices one after another, each to make up for the errors before it; None rounds each by
            itself.
    """

    weights: Weights
    plan_at: Callable[[float, Mapping[str, float]], Plan]
    weakest: float
    strongest: float
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    guidance: Mapping[str, object] = field(default_factory=dict)
    propagation: ErrorPropagation | None = None
    _predicted: dict[int, Mapping[str, float]] = field(default_factory=dict, init=False, repr=False)
    _coded: CodedTensors = field(default_factory=CodedTensors, init=False, repr=False)

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """Part → its fraction of the weights of all parts."""
        sizes = {weight.name: weight.tensor.numel() for weight in self.weights}
        of_parts = {part: sum(sizes[name] for name in names) for part, names in self.parts.items()}
        total = sum(of_parts.values())
        return {part: size / total for part, size in of_parts.items()}

    def archive(self, strength: float) -> Archive:
        """The archive of the plan at this strength."""
        plan = self.plan_at(strength, self.offsets)
        if self.propagation is not None:
            return compress_together(self.weights, plan, self.guidance, self.propagation.coded)
        return compress(self.weights, plan, guidance=self.guidance, known=self._coded)

    def predict_bytes(self, strength: float) -> float:
        """The bytes of each part, interpolated between the predictions at two neighbouring strengths."""
        of_parts = (self._interpolated(part, strength + self.offsets.get(part, 0.0)) for part in self.parts)
        return self._interpolated(_REST, strength) + sum(of_parts)

    def with_offsets(self, offsets: Mapping[str, float]) -> PlanFamily:
        """The family with these offsets; predictions and coded tensors are shared with it."""
        other = replace(self, offsets=offsets)
        object.__setattr__(other, "_predicted", self._predicted)
        object.__setattr__(other, "_coded", self._coded)
        return other

    def shares_trials_with(self, other: Family | None) -> bool:
        """Whether the other has the same plans and guidance; offsets may differ."""
        if not isinstance(other, PlanFamily) or self.propagation is not other.propagation:
            return False
        return self.plan_at == other.plan_at and self.guidance is other.guidance

    def _interpolated(self, part: str, strength: float) -> float:
        """Bytes of a part without offset, on the straight line between knots in the logarithm of bytes."""
        position = min(max(strength, self.weakest), self.strongest) * _KNOTS
        below = math.floor(position)
        first, beyond = self._at_knot(below)[part], position - below
        if not first or not beyond:
            return first
        ratio: float = (self._at_knot(below + 1)[part] / first) ** beyond
        return first * ratio

    def _at_knot(self, knot: int) -> Mapping[str, float]:
        """Part → its predicted bytes without offsets, and ``_REST`` → all other bytes."""
        if knot not in self._predicted:
            tensors = predicted_bytes(self.weights, self.plan_at(knot / _KNOTS, {}), self.guidance)
            found = {part: sum(tensors[name] for name in names) for part, names in self.parts.items()}
            self._predicted[knot] = {**found, _REST: sum(tensors.values()) - sum(found.values())}
        return self._predicted[knot]
