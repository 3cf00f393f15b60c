"""Scores and search results in the metrics of a file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import FormatError, SearchError
from lightning_compress.report.records.json_values import mapping, number
from lightning_compress.report.records.translations import TranslationRecord
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.manifest_metrics import KEY

_NO_POINTS = Frontier(())


@dataclass(frozen=True)
class Scores:
    """Scores in the metrics of a file; NaN if there are none.

    Attributes:
        before: score of the exact weights.
        after: score of the file.
        drop: difference between the two.
        interval: confidence interval of the drop.
        expected: drop that a search expects on other data.
        assured: probability that the allowed drop is kept there.
        frontier: the Pareto-optimal candidates of the search.
        measure: name of the metric that gave the scores; empty if it is not known.
        sign: -1 if lower values of the metric are better: a score is the negative of the metric then; else 1.
    """

    before: float
    after: float
    drop: float
    interval: tuple[float, float]
    frontier: Frontier = _NO_POINTS
    expected: float = math.nan
    assured: float = math.nan
    measure: str = ""
    sign: float = 1.0

    @property
    def label(self) -> str:
        """Name of the scores: the metric, with a minus if they are its negatives."""
        return f"{'−' if self.sign < 0 else ''}{self.measure or 'score'}"

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Scores:
        """The scores in the metrics of a file; invalid values count as missing."""
        record = metrics.get(KEY)
        search = record if isinstance(record, Mapping) else {}
        ends = search.get("interval")
        low, high = ends if isinstance(ends, (list, tuple)) and len(ends) == 2 else (None, None)
        points = _NO_POINTS
        with contextlib.suppress(SearchError, OverflowError):
            points = Frontier.from_metrics(metrics)
        return cls(
            before=_number(search.get("score_before")),
            after=_number(search.get("score_after")),
            drop=_number(search.get("drop")),
            interval=(_number(low), _number(high)),
            frontier=points,
            expected=_number(search.get("expected_drop")),
            assured=_number(search.get("assured")),
            measure=measure if isinstance(measure := search.get("measure"), str) else "",
            sign=-1.0 if search.get("mode") == "min" else 1.0,
        )

    @classmethod
    def of_translations(cls, record: TranslationRecord) -> Scores:
        """BLEU of exact and compressed weights, as the translation quality callback measured it."""
        drop, low, high = record.drop
        return cls(before=record.bleu[0], after=record.bleu[1], drop=drop, interval=(low, high), measure="BLEU")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, str]:
    """All metrics except the frontier, flattened and formatted: ``search/evaluations`` → ``17``."""
    return {name: _format(value) for name, value in _flat(metrics, "") if name != f"{KEY}/frontier"}


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(mapping(value, name), f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _format(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_format(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(value: object) -> float:
    try:
        return number(value, "score")
    except FormatError:
        return math.nan
