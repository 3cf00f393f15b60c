"""The data-free family: uniform grids, whose step doubles when the strength rises by 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.model_parts import (
    ModelPatterns,
    is_small_parameter,
    model_patterns,
    parts_of,
)
from lightning_compress.weights import Weights, standard_deviation

WEAKEST, STRONGEST = -8.0, 2.0  # binary logarithm of the step in standard deviations
_SMALL_STEP = 2.0**-5  # of small parameters, in standard deviations; together they are a hundredth of a model
_REST = ""  # the matrices of all parts without an offset
_HALF = Half(rounding="nearest")  # for values that a grid cannot represent


def uniform_families(weights: Weights) -> Sequence[PlanFamily]:
    """One step for all matrices, in standard deviations; a fine one for small parameters. Parts may have offsets."""
    patterns = model_patterns(weights)
    matrices = [weight for weight in weights if weight.is_trained and not is_small_parameter(weight)]
    parts, whole = parts_of(matrices), frozenset(weight.name for weight in matrices)

    @cache
    def deviation(names: frozenset[str]) -> float:
        return standard_deviation([weight.tensor for weight in matrices if weight.name in names])

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        nonzero = {part: offset for part, offset in offsets.items() if offset}
        return uniform_plan(patterns, strength, nonzero, _units(deviation, parts, whole, nonzero) if nonzero else {})

    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, parts),)


def uniform_plan(
    patterns: ModelPatterns, strength: float, offsets: Mapping[str, float], units: Mapping[str, float]
) -> Plan:
    """The plan at a strength, the binary logarithm of the step.

    Args:
        patterns: of the model.
        strength: of all parts without an offset.
        offsets: part → what is added to its strength.
        units: part, and ``""`` for all others → factor of its step; 1 for those that are not there.
    """
    fine = Grid(_SMALL_STEP, trellis=0, relative=True, scope="tensor", rate_weight=0.0)
    small = (Rule(pattern, fine, _HALF, optional=True) for pattern in patterns.small_parameters)
    of_parts = (
        Rule(patterns.parts[part], _grid(strength + offset, units.get(part, 1.0)), _HALF, by="class", optional=True)
        for part, offset in offsets.items()
    )
    rest = Rule("*", _grid(strength, units.get(_REST, 1.0)), _HALF, optional=True)
    return Plan(*small, *of_parts, rest)


def _units(
    deviation: Callable[[frozenset[str]], float],
    parts: Mapping[str, Sequence[str]],
    whole: frozenset[str],
    with_offset: Iterable[str],
) -> dict[str, float]:
    """Standard deviation of all matrices over that of each part with an offset, and over that of the others together.

    A step is relative to the standard deviation of the weights of its rule. These factors make it relative to that of
    all matrices, so that a part that gets a rule of its own keeps its step.
    """
    members = {part: frozenset(parts[part]) for part in with_offset}
    members[_REST] = whole.difference(*members.values())
    return {part: deviation(whole) / deviation(names) for part, names in members.items() if deviation(names) > 0}


def _grid(strength: float, unit: float) -> Grid:
    return Grid(2.0**strength * unit, relative=True)
