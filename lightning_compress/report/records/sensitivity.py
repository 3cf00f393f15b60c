"""Reads the record of the layer sensitivity callback: a score for each class of weights and each strength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_compress.report.records.json_values import Table, items, mapping, number, read_object, table, text


@dataclass(frozen=True)
class SensitivityRecord:
    """The content of one ``sensitivity.json``; values that were not measured are NaN.

    Attributes:
        source: the file.
        measure: name of the metric or loss.
        higher_is_better: False for a loss.
        baseline: value of the measure with the exact weights.
        step: global step of the training.
        strengths: names of the columns.
        classes: names of the rows.
        scores: ``[classes, strengths]``, the measure with only that class compressed.
        bytes: ``[classes, strengths]``, bytes of the class.
        estimates: name → ``[classes, strengths]``, estimates that need no evaluation.
        rank_correlation: name of an estimate → its rank correlation with the measured drop, −1 to 1.
        largest_ratio: class → the largest pruning ratio that keeps the measure, 0 to 1.
    """

    source: Path
    measure: str
    higher_is_better: bool
    baseline: float
    step: float
    strengths: tuple[str, ...]
    classes: tuple[str, ...]
    scores: Table
    bytes: Table
    estimates: Mapping[str, Table]
    rank_correlation: Mapping[str, float]
    largest_ratio: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> SensitivityRecord:
        """The record in a file that the callback wrote.

        Raises:
            FormatError: the file has other content, or its tables have different shapes.
            OSError: the file cannot be read.
        """
        document = read_object(path)

        def location(key: str) -> str:
            return f"{path}: {key}"

        classes = tuple(text(name, location("classes")) for name in items(document.get("classes"), location("classes")))
        strengths = tuple(
            text(mapping(each, location("strengths")).get("label"), location("strengths"))
            for each in items(document.get("strengths"), location("strengths"))
        )
        shape = len(classes), len(strengths)
        missing = [[None] * shape[1]] * shape[0]
        return cls(
            source=path,
            measure=text(document.get("measure"), location("measure")) or "score",
            higher_is_better=document.get("higher_is_better", True) is True,
            baseline=number(document.get("baseline"), location("baseline")),
            step=number(document.get("step"), location("step")),
            strengths=strengths,
            classes=classes,
            scores=table(document.get("scores"), location("scores"), *shape),
            bytes=table(document.get("bytes", missing), location("bytes"), *shape),
            estimates={
                name: table(values, location(f"estimates[{name!r}]"), *shape)
                for name, values in mapping(document.get("estimates"), location("estimates")).items()
            },
            rank_correlation=_numbers(document.get("rank_correlation"), location("rank_correlation")),
            largest_ratio=_numbers(document.get("largest_ratio"), location("largest_ratio")),
        )

    @property
    def losses(self) -> Table:
        """``[classes, strengths]``: how much worse than with the exact weights; negative if better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return tuple(tuple(sign * (self.baseline - score) for score in row) for row in self.scores)

    def ranking(self) -> dict[str, float]:
        """Class → mean drop over the measured strengths, the largest first; classes without any come last, with NaN."""
        means = {name: _mean(row) for name, row in zip(self.classes, self.losses, strict=True)}
        return dict(sorted(means.items(), key=lambda each: (math.isnan(each[1]), -each[1])))


def _numbers(value: object, what: str) -> dict[str, float]:
    return {name: number(each, what) for name, each in mapping(value, what).items()}


def _mean(row: tuple[float, ...]) -> float:
    known = [value for value in row if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
