"""The items of a score: their order, and a part that is set apart."""

from __future__ import annotations

import numpy as np
import pytest
from small_network import Net
from small_search import Rounded

from lightning_compress import Score, smallest
from lightning_compress.search.evaluate.items import HeldOut, ItemsChangedError, check_same_items, overlap_of_items


def rounded(weights):
    return (Rounded(weights),)


def score_of(rows):
    return Score.of(rows, lambda sums: float(sums[0] / sums[1]))


def rows_of(seed, items=60):
    draws = np.random.default_rng(seed)
    return np.stack([draws.integers(0, 2, items), draws.integers(3, 40, items)], -1).astype(float)


def test_another_order_is_noticed_by_what_does_not_depend_on_the_weights():
    rows = rows_of(0)
    shuffled = rows[np.random.default_rng(1).permutation(60)]
    with pytest.raises(ItemsChangedError, match=r"60 items in another order \(column 1"):
        check_same_items(score_of(rows), score_of(shuffled))
    other = rows.copy()
    other[:, 0] = 1 - other[:, 0]  # other answers to the same items
    check_same_items(score_of(rows), score_of(other))
    check_same_items(Score(1.0), Score(2.0))
    check_same_items(score_of(rows), Score(float("-inf")))  # a broken model


def test_other_items_are_noticed_by_their_number():
    rows = rows_of(0)
    for other, told in (
        (score_of(rows[:50]), "statistics of 50 items with 2 numbers each, and statistics of 60 items"),
        (Score(1.0), "a number without statistics, and statistics of 60 items"),
    ):
        with pytest.raises(ItemsChangedError, match=f"evaluate gave {told}"):
            check_same_items(score_of(rows), other)


def test_items_set_apart_are_never_read():
    rows = rows_of(0, 3000)
    part = HeldOut.of(3000)
    searched, kept = part.to_search(score_of(rows)), part.to_confirm(score_of(rows))
    assert (len(searched.statistics), len(kept.statistics)) == (2000, 1000)
    assert searched.statistics.sum(0) + kept.statistics.sum(0) == pytest.approx(rows.sum(0))
    assert (HeldOut.of(3000).searched == part.searched).all()


def test_equal_items_are_found_only_where_rows_can_tell_them():
    unlike = np.random.default_rng(0).normal(5, 1, (80, 2))
    assert overlap_of_items(score_of(unlike[:50]), score_of(unlike[10:60]))
    assert not overlap_of_items(score_of(unlike[:40]), score_of(unlike[40:]))
    alike = np.ones((80, 2))
    assert not overlap_of_items(score_of(alike), score_of(alike))


def test_a_search_whose_items_change_their_order_stores_the_exact_weights(caplog):
    net, calls = Net(), []

    def evaluate(module):
        calls.append(1)
        order = np.arange(60) if len(calls) < 3 else np.random.default_rng(len(calls)).permutation(60)
        return score_of(rows_of(0)[order])

    found = smallest(net, evaluate, 0.3, families=rounded, progress=False).manifest.metrics["search"]
    assert found["fallback"] == "lossless"
    assert found["drop"] == 0.0
    assert "in another order (column 1" in caplog.text


@pytest.mark.parametrize("first", [2, 3])
def test_a_search_whose_items_change_their_number_stores_the_exact_weights(caplog, first):
    """In the second evaluation of the exact weights, or later."""
    net, calls = Net(), []

    def evaluate(module):
        calls.append(1)
        return score_of(rows_of(0)[: 60 if len(calls) < first else 60 - len(calls)])

    found = smallest(net, evaluate, 0.3, families=rounded, progress=False).manifest.metrics["search"]
    assert (found["fallback"], found["drop"], len(calls)) == ("lossless", 0.0, first)
    assert f"statistics of {60 - first} items with 2 numbers each, and statistics of 60 items" in caplog.text
    assert "stored exactly" in caplog.text


def test_few_items_are_announced_and_ask_for_more_certainty(caplog):
    net, values = Net(), np.linspace(80, 99, 20)
    found = smallest(
        net,
        lambda module: Score.mean_of(values - float(module.head.weight.std() < 0.01)),
        0.3,
        families=lambda w: (Rounded(w, weakest=-1.0),),
        effort="quick",
        progress=False,
    ).manifest.metrics["search"]
    assert "only 20 items" in caplog.text
    assert found.get("assured", 1.0) >= 0.9
