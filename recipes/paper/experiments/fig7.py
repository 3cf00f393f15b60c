"""Figure 7: for each number of bits, the widest interval that keeps BLEU."""

from __future__ import annotations

from functools import partial

from lightning_compress import Interval
from recipes.paper.experiments.experiment import (
    COMPARISON_COLUMNS,
    Experiment,
    Part,
    Row,
    comparison_cells,
    percent,
    uniform_plan,
)
from recipes.paper.measurement.bisection import BisectionResult, bisect_largest
from recipes.paper.measurement.context import ExperimentContext
from recipes.paper.measurement.measurement import Measurement

# Dense where few weights are outside: there a wider interval costs most precision.
OUTSIDE = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005)
COVERAGES = (*(round(1 - share, 6) for share in (*OUTSIDE, 0.003, 0.002, 0.001, 0.0005, 0.0002, 0.0001)), 1.0)


def parts(context: ExperimentContext) -> list[Part]:
    """One for each number of bits."""
    return [partial(_bits, bits=bits) for bits in sorted(context.settings.bits)]


def measure(context: ExperimentContext, bits: int, coverage: float) -> Measurement:
    """The point of so many bits and this share of the weights inside, read as the middle of their pieces."""
    return context.measure(uniform_plan(Interval(bits, coverage)), f"{bits} bits, {percent(coverage)} inside")


def widest(context: ExperimentContext, bits: int) -> BisectionResult[float]:
    """The widest coverage of :data:`COVERAGES` that keeps BLEU."""
    return bisect_largest(COVERAGES, lambda coverage: context.compare(measure(context, bits, coverage)).keeps)


def _bits(context: ExperimentContext, *, bits: int) -> list[Row]:
    found = widest(context, bits)
    cells: Row = {"bits": bits, "coverage": found.setting, "points": found.evaluations}
    return [
        cells if found.setting is None else cells | comparison_cells(context, measure(context, bits, found.setting))
    ]


FIG7 = Experiment("fig7", ("bits", "coverage", *COMPARISON_COLUMNS, "points"), parts)
