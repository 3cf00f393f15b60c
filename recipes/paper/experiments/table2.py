"""Tables 2 and 3: the combination of all methods, step by step."""

from __future__ import annotations

from functools import partial

from recipes.paper.experiments.combination import Step, combination_of
from recipes.paper.experiments.experiment import COMPARISON_COLUMNS, Experiment, Part, Row, comparison_cells
from recipes.paper.measurement.context import ExperimentContext

COLUMNS = ("step", "plan", *COMPARISON_COLUMNS, "bytes", "formula", "ratio")


def parts(context: ExperimentContext) -> list[Part]:
    """One for each step."""
    return [partial(_step, step=step) for step in combination_of(context.module, context.settings).steps()]


def _step(context: ExperimentContext, *, step: Step) -> list[Row]:
    measured = context.exact if step.plan is None else context.measure(step.plan, step.name)
    sizes: Row = {"bytes": measured.bytes, "formula": step.formula, "ratio": measured.ratio}
    return [{"step": step.name, "plan": step.methods, **comparison_cells(context, measured), **sizes}]


TABLE2 = Experiment("table2", COLUMNS, parts)
