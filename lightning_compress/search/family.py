"""Families of archives: one number, the strength, makes a model smaller step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lightning_compress.archive import Archive
from lightning_compress.compression import assemble, compress, payloads_of
from lightning_compress.plan import Plan
from lightning_compress.quantize import Payload
from lightning_compress.search.sample import sampled_bytes
from lightning_compress.weights import Weights, one_thread

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
    def groups(self) -> Sequence[str]:
        """Parts of the model that can be made stronger or weaker apart; largest first."""
        ...

    def archive(self, strength: float) -> Archive:
        """The archive itself; seconds for ten million weights."""
        ...

    def predict_bytes(self, strength: float) -> float:
        """About how many bytes it will have; cheap, and hardly ever rising with strength."""
        ...

    def scaled(self, group: str, by: float) -> Family:
        """The family whose part ``group`` is this much stronger than it is here."""
        ...

    def is_like(self, other: Family | None) -> bool:
        """Whether what is measured of the other tells of this one, which is so at least where they are the same."""
        ...


@dataclass(frozen=True, eq=False)
class PlanFamily:
    """The family of a plan that depends on one number, and on one more for each part of the model.

    Args:
        weights: the exact weights.
        plan_at: strength, and for some groups what is added to it → plan.
        weakest: as in :class:`Family`.
        strongest: as in :class:`Family`.
        groups: as in :class:`Family`.
        offsets: group → what is added to its strength.
        guidance: what calibration measured, as for :func:`compress`.
        recover: the plan and its payloads → better payloads; None leaves them.
    """

    weights: Weights
    plan_at: Callable[[float, Mapping[str, float]], Plan]
    weakest: float
    strongest: float
    groups: Sequence[str] = ()
    offsets: Mapping[str, float] = field(default_factory=dict)
    guidance: Mapping[str, object] = field(default_factory=dict)
    recover: Callable[[Plan, Sequence[Payload]], Sequence[Payload]] | None = None
    _predicted: dict[int, float] = field(default_factory=dict, init=False)

    def archive(self, strength: float) -> Archive:
        """The archive of the plan at this strength."""
        plan = self.plan_at(strength, self.offsets)
        if self.recover is None:
            return compress(self.weights, plan, guidance=self.guidance)
        with one_thread():
            payloads = list(payloads_of(self.weights, plan, self.guidance))
        payloads = list(self.recover(plan, payloads))
        with one_thread():
            return assemble(self.weights, plan, payloads)

    def predict_bytes(self, strength: float) -> float:
        """Bytes by what a sample of the weights takes under the plans of two neighbouring strengths."""
        place = min(max(strength, self.weakest), self.strongest) * _KNOTS
        below = math.floor(place)
        part = place - below
        first = self._at_knot(below)
        return first * (self._at_knot(below + 1) / first) ** part if part else first

    def scaled(self, group: str, by: float) -> PlanFamily:
        """The family with another offset for one group."""
        return replace(self, offsets={**self.offsets, group: self.offsets.get(group, 0.0) + by})

    def is_like(self, other: Family | None) -> bool:
        """Whether the other makes files of the same plans, be it with recovery or without.

        Recovery hardly changes bytes or score, so that what is measured of one tells of the other.
        """
        return (
            isinstance(other, PlanFamily)
            and (self.plan_at, self.offsets) == (other.plan_at, other.offsets)
            and self.guidance is other.guidance
        )

    def _at_knot(self, knot: int) -> float:
        if knot not in self._predicted:
            plan = self.plan_at(knot / _KNOTS, self.offsets)
            self._predicted[knot] = float(sampled_bytes(self.weights, plan))
        return self._predicted[knot]
