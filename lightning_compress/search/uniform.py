"""The data-free family: uniform grids, coarser with strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Half, Interval, Raw
from lightning_compress.search.family import Family, PlanFamily
from lightning_compress.search.layout import EXACT, Layout, layout_of
from lightning_compress.weights import Weights

WEAKEST, STRONGEST = -10.0, -1.0


def uniform_families(weights: Weights) -> Sequence[Family]:
    """One grid for all matrices, in units of their spread; a fine one for vectors."""
    layout = layout_of(weights)

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        return uniform_plan(layout, strength, offsets)

    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, tuple(layout.parts)),)


def uniform_plan(layout: Layout, strength: float, offsets: Mapping[str, float]) -> Plan:
    """The plan at a strength, the binary logarithm of the step; running statistics of norms are kept exactly."""
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    vectors = (Rule(pattern, Half(), optional=True) for pattern in layout.vectors)
    apart = (
        Rule(layout.parts[group], _grid(strength + offset), by="class", optional=True)
        for group, offset in offsets.items()
        if offset
    )
    return Plan(*exact, *vectors, *apart, Rule("*", _grid(strength), optional=True))


def _grid(strength: float) -> Interval:
    return Interval(min(max(round(-strength), 1), 12), 0.995)
