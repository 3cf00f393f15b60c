"""Tables 2 and 3: the combination of all methods, step by step."""

from __future__ import annotations

from functools import partial

from recipes.paper.combination import Step, combination_of
from recipes.paper.experiments.experiment import VERDICT, Experiment, Part, Row, verdict_cells
from recipes.paper.laboratory import Laboratory

COLUMNS = ("step", "plan", *VERDICT, "bytes", "formula", "ratio")


def parts(lab: Laboratory) -> list[Part]:
    """One for each step."""
    return [partial(_step, step=step) for step in combination_of(lab.module, lab.settings).steps()]


def _step(lab: Laboratory, *, step: Step) -> list[Row]:
    measured = lab.exact if step.plan is None else lab.measure(step.plan, step.name)
    sizes: Row = {"bytes": measured.bytes, "formula": step.formula, "ratio": measured.ratio}
    return [{"step": step.name, "plan": step.methods, **verdict_cells(lab, measured), **sizes}]


TABLE2 = Experiment("table2", COLUMNS, parts)
