"""Figure 6: BLEU against bits, when an index is read as the left, middle or right value of its piece."""

from __future__ import annotations

from functools import partial
from typing import get_args

from lightning_compress import Interval
from lightning_compress.quantize import Restore
from recipes.paper.experiments.experiment import (
    COMPARISON_COLUMNS,
    Experiment,
    Part,
    Row,
    comparison_cells,
    percent,
    uniform_plan,
)
from recipes.paper.measurement.context import ExperimentContext

COVERAGE = 0.991  # the paper's on the Transformer


def parts(context: ExperimentContext) -> list[Part]:
    """One for each number of bits and value."""
    return [
        partial(_point, bits=bits, restore=restore)
        for restore in get_args(Restore)
        for bits in sorted(context.settings.bits)
    ]


def _point(context: ExperimentContext, *, bits: int, restore: Restore) -> list[Row]:
    coverage = COVERAGE if context.settings.coverage is None else context.settings.coverage
    what = f"{bits} bits, {restore}, {percent(coverage)} inside"
    measured = context.measure(uniform_plan(Interval(bits, coverage, restore)), what)
    setting: Row = {"bits": bits, "restore": restore, "coverage": coverage}
    return [{**setting, **comparison_cells(context, measured), "bytes": measured.bytes}]


FIG6 = Experiment("fig6", ("bits", "restore", "coverage", *COMPARISON_COLUMNS, "bytes"), parts)
