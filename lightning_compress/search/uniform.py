"""The data-free family: uniform grids, coarser with strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half, Raw
from lightning_compress.search.family import PlanFamily
from lightning_compress.search.layout import EXACT, Layout, layout_of
from lightning_compress.weights import Weights

WEAKEST, STRONGEST = -8.0, 2.0  # binary logarithms of the step in standard deviations
_VECTOR_STEP = 2.0**-5  # standard deviations of a vector; all vectors together are a hundredth of a model
_KEPT = Half(rounding="nearest")  # what no grid holds


def uniform_families(weights: Weights) -> Sequence[PlanFamily]:
    """One grid for all matrices, in units of their spread; a fine one for vectors."""
    layout = layout_of(weights)

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        return uniform_plan(layout, strength, offsets)

    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, tuple(layout.parts)),)


def uniform_plan(layout: Layout, strength: float, offsets: Mapping[str, float]) -> Plan:
    """The plan at a strength, the binary logarithm of the step; running statistics of norms are kept exactly."""
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    fine = Grid(_VECTOR_STEP, trellis=0, relative=True, scope="tensor", rate_weight=0.0)
    vectors = (Rule(pattern, fine, _KEPT, optional=True) for pattern in layout.vectors)
    apart = (
        Rule(layout.parts[group], _grid(strength + offset), _KEPT, by="class", optional=True)
        for group, offset in offsets.items()
        if offset
    )
    return Plan(*exact, *vectors, *apart, Rule("*", _grid(strength), _KEPT, optional=True))


def _grid(strength: float) -> Grid:
    return Grid(2.0**strength, relative=True)
