"""The Pareto frontier: points that none dominates, as JSON and back, and scores between them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress.errors import SearchError
from lightning_compress.search import Frontier
from lightning_compress.search.record.frontier import pareto_frontier

POINTS = st.tuples(st.floats(-5, 5), st.integers(1, 50), st.integers(0, 9).map(float))


@given(st.lists(POINTS, max_size=12))
def test_a_point_is_kept_if_and_only_if_none_dominates_it(points):
    kept = Frontier.of(points).points
    assert [p[1] for p in kept] == sorted({p[1] for p in kept})
    assert [p[2] for p in kept] == sorted({p[2] for p in kept})
    for point in points:
        dominated = any(q[1] <= point[1] and q[2] >= point[2] for q in kept)
        assert dominated
    assert set(kept) <= set(points)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=10))
def test_the_frontier_has_every_point_that_no_other_dominates(points):
    def dominated(point):
        return any(q[0] <= point[0] and q[1] >= point[1] and q != point for q in points)

    found = pareto_frontier(points, cost=lambda point: point[0], value=lambda point: point[1])
    assert found == sorted({point for point in points if not dominated(point)})


def test_of_equal_points_the_first_is_kept():
    first, second = [1.0, "first"], [1.0, "second"]
    assert pareto_frontier([first, second], cost=lambda p: p[0], value=lambda p: p[0]) == [first]


def test_what_has_no_finite_score_is_left_out():
    assert Frontier.of([(1.0, 5, -math.inf), (2.0, 6, math.nan), (3.0, 7, 1.0)]).points == ((3.0, 7, 1.0),)


@given(st.lists(POINTS, max_size=12))
def test_metrics_give_it_back(points):
    frontier = Frontier.of(points)
    metrics = json.loads(json.dumps({"search": {"frontier": frontier.to_json()}}))
    again = Frontier.from_metrics(metrics)
    assert [p[1:] for p in again.points] == [p[1:] for p in frontier.points]
    assert [p[0] for p in again.points] == pytest.approx([p[0] for p in frontier.points], abs=1e-6)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"search": {}}, {"search": 1.0}, {"search": {"frontier": [[1, 2]]}}, {"search": {"frontier": ["abc"]}}],
)
def test_a_file_without_one_is_refused(metrics):
    with pytest.raises(SearchError, match="holds no frontier of a search"):
        Frontier.from_metrics(metrics)


def test_scores_between_points_and_none_beyond():
    frontier = Frontier.of([(2.0, 100, 10.0), (1.0, 400, 20.0)])
    assert frontier.score_at(100) == 10.0
    assert frontier.score_at(200) == pytest.approx(15.0)
    assert frontier.score_at(400) == 20.0
    assert frontier.score_at(99) is None
    assert frontier.score_at(401) is None
    assert Frontier.of([(1.0, 50, 3.0)]).score_at(50) == 3.0
