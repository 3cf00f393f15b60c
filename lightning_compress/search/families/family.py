"""Families of archives: one number, the strength, makes a model smaller step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from lightning_compress.archive import Archive
from lightning_compress.pipeline.compression import assemble, compress
from lightning_compress.pipeline.payloads import CodedTensors, payloads_of
from lightning_compress.plan import Plan
from lightning_compress.quantize import Payload
from lightning_compress.runtime import one_thread
from lightning_compress.search.families.byte_prediction import sampled_bytes
from lightning_compress.weights import Weights

_REST = ""  # what is of no part
_KNOTS = 2  # strengths at which bytes are predicted, for each unit; between them they are interpolated


class Family(Protocol):
    """Archives of one model by strength: more strength, fewer bytes."""

    @property
    def weakest(self) -> float:
        """The least strength, whose archive is nearly exact."""
        ...

    @property
    def strongest(self) -> float:
        """The greatest strength, whose archive is as small as the family reaches."""
        ...

    @property
    def shares(self) -> Mapping[str, float]:
        """Part of the model that can be made stronger or weaker apart → its share of their weights; largest first.

        Empty where there is no such part.
        """
        ...

    @property
    def offsets(self) -> Mapping[str, float]:
        """Part → how much stronger it is than the rest, where it is."""
        ...

    def archive(self, strength: float) -> Archive:
        """The archive itself; seconds for ten million weights."""
        ...

    def predict_bytes(self, strength: float) -> float:
        """About how many bytes it will have; cheap, and hardly ever rising with strength."""
        ...

    def with_offsets(self, offsets: Mapping[str, float]) -> Family:
        """The same family with these offsets instead; :meth:`predict_bytes` of hundreds of them is asked for."""
        ...

    def is_like(self, other: Family | None) -> bool:
        """Whether what is measured of the other tells of this one, which is so at least with other offsets."""
        ...


@dataclass(frozen=True, eq=False)
class PlanFamily:
    """The family of a plan that depends on one number, and on one more for each part of the model.

    Args:
        weights: the exact weights.
        plan_at: strength, and for some parts what is added to it → plan.
        weakest: as in :class:`Family`.
        strongest: as in :class:`Family`.
        parts: part of the model that can be made stronger or weaker apart → its tensors; largest first.
        offsets: part → what is added to its strength.
        guidance: what calibration measured, as for :func:`compress`.
        recover: the plan and its payloads → better payloads; None leaves them.
    """

    weights: Weights
    plan_at: Callable[[float, Mapping[str, float]], Plan]
    weakest: float
    strongest: float
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    guidance: Mapping[str, object] = field(default_factory=dict)
    recover: Callable[[Plan, Sequence[Payload]], Sequence[Payload]] | None = None
    _predicted: dict[int, Mapping[str, float]] = field(default_factory=dict, init=False, repr=False)
    _coded: CodedTensors = field(default_factory=CodedTensors, init=False, repr=False)

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """Part → its share of the weights of all parts."""
        sizes = {weight.name: weight.tensor.numel() for weight in self.weights}
        of_parts = {part: sum(sizes[name] for name in names) for part, names in self.parts.items()}
        total = sum(of_parts.values())
        return {part: size / total for part, size in of_parts.items()}

    def archive(self, strength: float) -> Archive:
        """The archive of the plan at this strength."""
        plan = self.plan_at(strength, self.offsets)
        if self.recover is None:
            return compress(self.weights, plan, guidance=self.guidance, known=self._coded)
        with one_thread():
            payloads = list(payloads_of(self.weights, plan, self.guidance))
        payloads = list(self.recover(plan, payloads))
        with one_thread():
            return assemble(self.weights, plan, payloads)

    def predict_bytes(self, strength: float) -> float:
        """Bytes by what a sample of each part takes under the plans of two neighbouring strengths."""
        of_parts = (self._between(part, strength + self.offsets.get(part, 0.0)) for part in self.parts)
        return self._between(_REST, strength) + sum(of_parts)

    def with_offsets(self, offsets: Mapping[str, float]) -> PlanFamily:
        """The family with these offsets, which shares what was predicted and coded."""
        other = replace(self, offsets=offsets)
        object.__setattr__(other, "_predicted", self._predicted)
        object.__setattr__(other, "_coded", self._coded)
        return other

    def is_like(self, other: Family | None) -> bool:
        """Whether the other makes files of the same plans, be it with other offsets, with recovery or without.

        Recovery hardly changes bytes or score, so that what is measured of one tells of the other.
        """
        return isinstance(other, PlanFamily) and self.plan_at == other.plan_at and self.guidance is other.guidance

    def _between(self, part: str, strength: float) -> float:
        place = min(max(strength, self.weakest), self.strongest) * _KNOTS
        below = math.floor(place)
        first, beyond = self._at_knot(below)[part], place - below
        if not first or not beyond:
            return first
        ratio: float = (self._at_knot(below + 1)[part] / first) ** beyond
        return first * ratio

    def _at_knot(self, knot: int) -> Mapping[str, float]:
        """Part → its bytes with no offsets, and ``_REST`` → those of everything else."""
        if knot not in self._predicted:
            tensors = sampled_bytes(self.weights, self.plan_at(knot / _KNOTS, {}))
            found = {part: sum(tensors[name] for name in names) for part, names in self.parts.items()}
            self._predicted[knot] = {**found, _REST: sum(tensors.values()) - sum(found.values())}
        return self._predicted[knot]
