"""Figure 6: BLEU against bits, when an index is read as the left, middle or right value of its piece."""

from __future__ import annotations

from functools import partial
from typing import get_args

from lightning_compress import Interval
from lightning_compress.quantize import Restore
from recipes.paper.experiments.experiment import VERDICT, Experiment, Part, Row, percent, verdict_cells, whole
from recipes.paper.laboratory import Laboratory

COVERAGE = 0.991  # the paper's on the Transformer


def parts(lab: Laboratory) -> list[Part]:
    """One for each number of bits and value."""
    return [
        partial(_point, bits=bits, restore=restore)
        for restore in get_args(Restore)
        for bits in sorted(lab.settings.bits)
    ]


def _point(lab: Laboratory, *, bits: int, restore: Restore) -> list[Row]:
    coverage = COVERAGE if lab.settings.coverage is None else lab.settings.coverage
    what = f"{bits} bits, {restore}, {percent(coverage)} inside"
    measured = lab.measure(whole(Interval(bits, coverage, restore)), what)
    setting: Row = {"bits": bits, "restore": restore, "coverage": coverage}
    return [{**setting, **verdict_cells(lab, measured), "bytes": measured.bytes}]


FIG6 = Experiment("fig6", ("bits", "restore", "coverage", *VERDICT, "bytes"), parts)
