"""The interface of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_compress import Plan, Rule
from recipes.paper.measurement.context import ExperimentContext
from recipes.paper.measurement.measurement import Measurement

Cell = str | int | float | bool | None
Row = dict[str, Cell]
Part = Callable[[ExperimentContext], Sequence[Row]]
COMPARISON_COLUMNS = ("bleu", "drop", "low", "high", "significant")


def _as_they_are(context: ExperimentContext, rows: list[Row]) -> list[Row]:
    return rows


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Attributes:
        name: of its file, ``NAME.csv``.
        columns: of that file.
        parts: creates independent parts, which processes can share; a part measures its points and returns its rows.
            Equal settings give equal parts in equal order.
        finish: combines the rows of all parts into the rows of the file.
    """

    name: str
    columns: tuple[str, ...]
    parts: Callable[[ExperimentContext], Sequence[Part]]
    finish: Callable[[ExperimentContext, list[Row]], list[Row]] = _as_they_are


def uniform_plan(*methods: object) -> Plan:
    """A plan that applies the same methods to all weights."""
    return Plan(Rule("*", *methods))  # type: ignore[arg-type]


def comparison_cells(context: ExperimentContext, measured: Measurement) -> Row:
    """The cells :data:`COMPARISON_COLUMNS` of a point."""
    verdict = context.compare(measured)
    drop = verdict.drop
    cells = (measured.score.value, drop.value, drop.low, drop.high, verdict.significant)
    return dict(zip(COMPARISON_COLUMNS, cells, strict=True))


def percent(share: float) -> str:
    """A fraction as text: ``15 %``."""
    return f"{100 * share:.10g} %"
