"""Figure 7: for each number of bits, the widest interval that keeps BLEU."""

from __future__ import annotations

from functools import partial

from lightning_compress import Interval
from recipes.paper.bisection import Largest, largest
from recipes.paper.experiments.experiment import VERDICT, Experiment, Part, Row, percent, verdict_cells, whole
from recipes.paper.laboratory import Laboratory
from recipes.paper.point import Measured

# Dense where few weights are outside: there a wider interval costs most precision.
OUTSIDE = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005)
COVERAGES = (*(round(1 - share, 6) for share in (*OUTSIDE, 0.003, 0.002, 0.001, 0.0005, 0.0002, 0.0001)), 1.0)


def parts(lab: Laboratory) -> list[Part]:
    """One for each number of bits."""
    return [partial(_bits, bits=bits) for bits in sorted(lab.settings.bits)]


def measure(lab: Laboratory, bits: int, coverage: float) -> Measured:
    """The point of so many bits and this share of the weights inside, read as the middle of their pieces."""
    return lab.measure(whole(Interval(bits, coverage)), f"{bits} bits, {percent(coverage)} inside")


def widest(lab: Laboratory, bits: int) -> Largest[float]:
    """The widest coverage of :data:`COVERAGES` that keeps BLEU."""
    return largest(COVERAGES, lambda coverage: lab.judge(measure(lab, bits, coverage)).keeps)


def _bits(lab: Laboratory, *, bits: int) -> list[Row]:
    found = widest(lab, bits)
    cells: Row = {"bits": bits, "coverage": found.setting, "points": found.looks}
    return [cells if found.setting is None else cells | verdict_cells(lab, measure(lab, bits, found.setting))]


FIG7 = Experiment("fig7", ("bits", "coverage", *VERDICT, "points"), parts)
