"""The items behind a score: whether they are the same each time, and a part of them that the search never reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.score import Score, Statistics

MIN_ITEMS = 30  # with fewer, the variance between items is hardly known
SET_APART_FROM = 2000  # items, from which on a part of them is set apart
_SET_APART = 1 / 3  # of the items
_TELLING = 8  # different values, from which on a column that comes in another order shows that the items do
_DISTINCT = 0.5  # fraction of rows that differ from all others, from which on equal rows are equal items
_SEED = 0


class ItemsChangedError(SearchError):
    """An evaluation scored other items than before, or gave them in another order.

    Attributes:
        before: the score before.
    """

    def __init__(self, before: Score, what: str) -> None:
        super().__init__(f"{what}. Files are compared item by item: score the same items in the same order each time")
        self.before = before


def item_count(score: Score) -> int | None:
    """How many items a score has statistics of; None without statistics."""
    return None if score.statistics is None else len(score.statistics)


def check_same_items(before: Score, after: Score) -> None:
    """Refuse statistics of other items, or in another order.

    Some columns do not depend on the weights, such as the lengths of references. If such a column has the same values
    in another order, so have the items.

    Raises:
        ItemsChangedError: the shapes of the statistics differ; or a column with many different values is a permutation
            of what it was.
    """
    first, second = before.statistics, after.statistics
    if (first is None and second is None) or after.value == float("-inf"):  # which a broken model may score
        return
    if first is None or second is None or first.shape != second.shape:
        raise ItemsChangedError(before, f"evaluate gave {_described(after)}, and {_described(before)} before")
    for column, (old, new) in enumerate(zip(first.T, second.T, strict=True)):
        if np.array_equal(old, new) or len(np.unique(old)) < _TELLING:
            continue
        if np.array_equal(np.sort(old), np.sort(new)):
            raise ItemsChangedError(
                before,
                f"evaluate gave its {len(first)} items in another order (column {column} of the statistics)",
            )


def _described(score: Score) -> str:
    if score.statistics is None:
        return "a number without statistics"
    rows, columns = score.statistics.shape
    return f"statistics of {rows} items with {columns} numbers each"


def overlap_of_items(searched: Score, confirming: Score) -> bool:
    """Whether most items of one score are among those of another, as far as their statistics tell.

    Both are scores of the same weights. Equal rows mean equal items only where nearly all rows differ from each other.
    """
    first, second = searched.statistics, confirming.statistics
    if first is None or second is None or first.shape[1] != second.shape[1]:
        return False
    known = {row.tobytes() for row in first}
    if len(known) < _DISTINCT * len(first):
        return False
    return sum(row.tobytes() in known for row in second) > len(second) / 2


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A division of the items: the search reads the statistics of one part, a confirmation those of the other.

    Attributes:
        searched: ``[items]``, whether the search reads an item.
    """

    searched: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @classmethod
    def of(cls, items: int) -> HeldOut:
        """A third of the items is set apart, at random but always the same ones."""
        searched = np.ones(items, np.bool_)
        searched[np.random.default_rng(_SEED).permutation(items)[: round(items * _SET_APART)]] = False
        return cls(searched)

    def to_search(self, score: Score) -> Score:
        """The score of the items that the search reads."""
        return _part(score, self.searched)

    def to_confirm(self, score: Score) -> Score:
        """The score of the items that are set apart."""
        return _part(score, ~self.searched)


def _part(score: Score, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Score:
    if score.statistics is None or score.combine is None or len(score.statistics) != len(chosen):
        return score
    rows: Statistics = score.statistics[chosen]
    return Score.of(rows, score.combine)
