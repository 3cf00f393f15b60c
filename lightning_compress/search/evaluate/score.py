"""The result of an evaluation: a number, and per-sentence statistics from which its variance can be estimated."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_compress.errors import SearchError

Statistics = NDArray[np.float64]
_UNDEFINED = (
    "the score is undefined on a random part of the items, by which the search knows its noise; let combine give a "
    "number for every part (0 for a class that does not occur), or return the score as a plain number"
)
_ROUNDING = 1e-6  # relative, between a value and the value computed from its statistics


@dataclass(frozen=True, eq=False)
class Score:
    """A score, higher is better, with the statistics of each sentence if the metric has any.

    BLEU, for example, is computed from sums over sentences (n-gram matches, lengths). With one row per sentence, a
    search can resample test sets and separate a real drop from noise
    (:mod:`lightning_compress.search.evaluate.bootstrap`).

    Args:
        value: the score.
        statistics: ``[sentences, k]``: the terms that each sentence adds to the sums.
        combine: the sums ``[k]`` → the score, also for the sums of a part of the sentences.

    Raises:
        SearchError: only one of ``statistics`` and ``combine`` is given, the statistics have another shape or are not
            finite, or their sums do not give ``value``.
    """

    value: float
    statistics: Statistics | None = None
    combine: Callable[[Statistics], float] | None = None

    def __post_init__(self) -> None:
        _check_value(self.value)
        if (self.statistics is None) != (self.combine is None):
            raise SearchError("a Score has either both of statistics and combine, or neither: give the other one too")
        if self.statistics is None or self.combine is None:
            return
        _check_combine(self.combine)
        table = _table(self.statistics)
        object.__setattr__(self, "statistics", table)
        combined = self.combine(table.sum(0))
        if not (math.isclose(combined, self.value, rel_tol=_ROUNDING, abs_tol=_ROUNDING) or combined != combined):
            raise SearchError(f"a Score of {self.value} has statistics whose sums give {combined}: they must agree")

    @classmethod
    def of(cls, statistics: ArrayLike, combine: Callable[[Statistics], float]) -> Score:
        """A score computed from per-sentence statistics ``[sentences, k]``; errors as for :class:`Score`."""
        table = _table(statistics)
        _check_combine(combine)
        return cls(float(combine(table.sum(0))), table, combine)

    @classmethod
    def mean_of(cls, values: Sequence[float] | ArrayLike) -> Score:
        """The mean of one value per sentence (or image, or row), such as accuracy; errors as for :class:`Score`."""
        table = _numbers(values)
        if table.ndim != 1:
            raise SearchError(
                f"the values of a Score have the shape {list(table.shape)}, expected one number a sentence"
            )
        return cls.of(np.stack([table, np.ones_like(table)], -1), lambda sums: float(sums[0] / sums[1]))

    def of_parts(self, sums: Statistics) -> Statistics:
        """``[m]``: the score of each of m parts of the sentences, from their sums ``[m, k]``.

        Raises:
            SearchError: ``combine`` fails on a part, or gives no finite number where the score itself is finite.
        """
        assert self.combine is not None
        try:
            scores = np.array([self.combine(row) for row in sums], np.float64)
        except ArithmeticError as error:
            raise SearchError(f"{_UNDEFINED}: combine ended in {type(error).__name__}: {error}") from error
        if math.isfinite(self.value) and not np.isfinite(scores).all():
            raise SearchError(f"{_UNDEFINED}: combine gave {scores[~np.isfinite(scores)][0]}")
        return scores

    def __neg__(self) -> Score:
        """The score for which lower values were better, with its statistics."""
        combine = self.combine
        if combine is None:
            return Score(-self.value)
        return Score(-self.value, self.statistics, lambda sums: -combine(sums))

    @classmethod
    def from_value(cls, value: object) -> Score:
        """The score that an ``evaluate`` function returned, as a number or as a score.

        Raises:
            SearchError: it is neither.
        """
        if isinstance(value, Score):
            return value
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            return cls(float(value.detach()))
        if isinstance(value, numbers.Real):
            return cls(float(value))
        raise SearchError(
            f"evaluate returned {_describe(value)}, expected a number (higher is better) or a lightning_compress.Score"
        )


def _check_value(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SearchError(f"the value of a Score is {_describe(value)}, expected a number")


def _check_combine(combine: object) -> None:
    if not callable(combine):
        raise SearchError(f"combine of a Score is {_describe(combine)}, expected a function: sums [k] → score")


def _numbers(values: ArrayLike) -> Statistics:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise SearchError(f"the values of a Score are {_describe(values)}, expected an array of numbers") from error


def _table(statistics: ArrayLike) -> Statistics:
    table = _numbers(statistics)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise SearchError(
            f"the statistics of a Score have the shape {list(table.shape)}, expected finite numbers [sentences, k]"
        )
    return table


def _describe(value: object) -> str:
    shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
    return f"{type(value).__name__}{shape}: {value!r:.80}"
