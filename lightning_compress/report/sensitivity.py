"""What the layer sensitivity callback measured: a score for each class of weights and each strength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_compress.report.values import Table, items, mapping, number, read_object, table, text


@dataclass(frozen=True)
class Sensitivity:
    """One measurement; what was not measured is NaN.

    Attributes:
        source: the file it was read from.
        measure: name of the metric or loss.
        higher_is_better: whether more of it is better.
        baseline: its value with the exact weights.
        step: of the training.
        strengths: names of the columns.
        classes: names of the rows.
        scores: ``[classes, strengths]``, the measure with that class alone compressed.
        bytes: ``[classes, strengths]``, of the class.
        estimates: name → ``[classes, strengths]``, cheap stand-ins for the measure.
        rank_correlation: name of an estimate → its rank correlation with what was measured, −1 to 1.
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
    def read(cls, path: Path) -> Sensitivity:
        """The measurement in a file that the callback wrote.

        Raises:
            FormatError: it is another file, or its tables do not fit each other.
            OSError: it cannot be read.
        """
        found = read_object(path)

        def say(key: str) -> str:
            return f"{path}: {key}"

        classes = tuple(text(name, say("classes")) for name in items(found.get("classes"), say("classes")))
        strengths = tuple(
            text(mapping(each, say("strengths")).get("label"), say("strengths"))
            for each in items(found.get("strengths"), say("strengths"))
        )
        shape = len(classes), len(strengths)
        none = [[None] * shape[1]] * shape[0]
        return cls(
            source=path,
            measure=text(found.get("measure"), say("measure")) or "score",
            higher_is_better=found.get("higher_is_better", True) is True,
            baseline=number(found.get("baseline"), say("baseline")),
            step=number(found.get("step"), say("step")),
            strengths=strengths,
            classes=classes,
            scores=table(found.get("scores"), say("scores"), *shape),
            bytes=table(found.get("bytes", none), say("bytes"), *shape),
            estimates={
                name: table(values, say(f"estimates[{name!r}]"), *shape)
                for name, values in mapping(found.get("estimates"), say("estimates")).items()
            },
            rank_correlation=_numbers(found.get("rank_correlation"), say("rank_correlation")),
            largest_ratio=_numbers(found.get("largest_ratio"), say("largest_ratio")),
        )

    @property
    def losses(self) -> Table:
        """``[classes, strengths]``: how much worse than the exact weights; below 0 where it is better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return tuple(tuple(sign * (self.baseline - score) for score in row) for row in self.scores)

    def ranking(self) -> dict[str, float]:
        """Class → its mean loss over the strengths that were measured, the largest first; NaN, last, where none was."""
        means = {name: _mean(row) for name, row in zip(self.classes, self.losses, strict=True)}
        return dict(sorted(means.items(), key=lambda each: (math.isnan(each[1]), -each[1])))


def _numbers(value: object, what: str) -> dict[str, float]:
    return {name: number(each, what) for name, each in mapping(value, what).items()}


def _mean(row: tuple[float, ...]) -> float:
    known = [value for value in row if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
