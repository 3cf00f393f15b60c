"""Figure 8: rate against bits at the widest interval that keeps BLEU: the paper's equation 2, and the real file."""

from __future__ import annotations

from functools import partial

from recipes.paper.experiments.compression_rate import equation_2
from recipes.paper.experiments.experiment import Experiment, Part, Row
from recipes.paper.experiments.fig7 import measure, widest
from recipes.paper.measurement.context import ExperimentContext


def parts(context: ExperimentContext) -> list[Part]:
    """One for each number of bits; the points are those of figure 7."""
    return [partial(_bits, bits=bits) for bits in sorted(context.settings.bits)]


def _bits(context: ExperimentContext, *, bits: int) -> list[Row]:
    coverage = widest(context, bits).setting
    if coverage is None:
        return [{"bits": bits}]
    measured = measure(context, bits, coverage)
    rates: Row = {"formula": equation_2(bits, coverage), "ratio": measured.ratio, "bytes": measured.bytes}
    return [{"bits": bits, "coverage": coverage, **rates}]


FIG8 = Experiment("fig8", ("bits", "coverage", "formula", "ratio", "bytes"), parts)
