"""The data-free family: uniform grids, coarser with strength."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half, Raw
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.model_parts import EXACT, Layout, is_vector, layout_of, parts_of
from lightning_compress.weights import Weights, matches_any, standard_deviation

WEAKEST, STRONGEST = -8.0, 2.0  # binary logarithms of the step in standard deviations
_VECTOR_STEP = 2.0**-5  # standard deviations of a vector; all vectors together are a hundredth of a model
_REST = ""  # the matrices of no part that is apart
_KEPT = Half(rounding="nearest")  # what no grid holds


def uniform_families(weights: Weights) -> Sequence[PlanFamily]:
    """One grid for all matrices, in units of their spread; a fine one for vectors. Parts may be coarser or finer."""
    layout = layout_of(weights)
    matrices = [
        w for w in weights if w.tensor.is_floating_point() and not is_vector(w) and not matches_any(EXACT, w.name)
    ]
    parts = parts_of(matrices)

    @cache
    def spread(names: frozenset[str]) -> float:
        return standard_deviation([weight.tensor for weight in matrices if weight.name in names])

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        apart = {part: offset for part, offset in offsets.items() if offset}
        return uniform_plan(layout, strength, apart, _units(spread, parts, apart) if apart else {})

    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, parts),)


def uniform_plan(layout: Layout, strength: float, apart: Mapping[str, float], units: Mapping[str, float]) -> Plan:
    """The plan at a strength, the binary logarithm of the step; running statistics of norms are kept exactly.

    Args:
        layout: of the model.
        strength: of all that is not apart.
        apart: part → what is added to the strength for it.
        units: part, and ``""`` for the rest → what its steps are multiplied by; 1 where it is not there.
    """
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    fine = Grid(_VECTOR_STEP, trellis=0, relative=True, scope="tensor", rate_weight=0.0)
    vectors = (Rule(pattern, fine, _KEPT, optional=True) for pattern in layout.vectors)
    of_parts = (
        Rule(layout.parts[part], _grid(strength + offset, units.get(part, 1.0)), _KEPT, by="class", optional=True)
        for part, offset in apart.items()
    )
    rest = Rule("*", _grid(strength, units.get(_REST, 1.0)), _KEPT, optional=True)
    return Plan(*exact, *vectors, *of_parts, rest)


def _units(
    spread: Callable[[frozenset[str]], float], parts: Mapping[str, Sequence[str]], apart: Iterable[str]
) -> dict[str, float]:
    """How often the spread of each part apart, and of the rest, goes into that of all.

    A step counts standard deviations of the weights of its rule. These factors make it count those of all weights, so
    that it stays what it was when a part is set apart.
    """
    members = {part: frozenset(parts[part]) for part in apart}
    whole = frozenset(name for names in parts.values() for name in names)
    members[_REST] = whole.difference(*members.values())
    return {part: spread(whole) / spread(names) for part, names in members.items() if spread(names) > 0}


def _grid(strength: float, unit: float) -> Grid:
    return Grid(2.0**strength * unit, relative=True)
