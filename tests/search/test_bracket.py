"""Where the next measurement is made: few of them, between what holds and what fails, whatever the noise."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress.search.bracket import Bracket
from lightning_compress.search.curve import crossing as crossing_of

SMALLEST, LARGEST, ALLOWED, TOLERANCE = 10.0, 14.0, 0.3, 0.01


def bracket(points, **changes):
    settings = {
        "points": points,
        "smallest": SMALLEST,
        "largest": LARGEST,
        "allowed": ALLOWED,
        "deviation": 0.1,
        "tolerance": TOLERANCE,
    }
    return Bracket(**{**settings, **changes})


def run(drop_of, start=12.0, limit=40, **changes):
    """Follow the advice until there is none; the points measured."""
    points = []
    while len(points) < limit:
        size = bracket(points, **changes).next_size(start)
        if size is None:
            return points
        points.append((size, drop_of(size)))
    return points


def smallest_that_holds(points, allowed=ALLOWED):
    return min((size for size, drop in points if drop <= allowed), default=None)


@pytest.mark.parametrize("rate", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("crossing", [10.6, 11.7, 12.3, 13.2])
def test_a_smooth_loss_is_crossed_in_few_measurements(rate, crossing):
    points = run(lambda size: ALLOWED * math.exp(-rate * (size - crossing)), deviation=0.0)
    assert len(points) <= 12
    assert crossing <= smallest_that_holds(points) <= crossing + 2 * TOLERANCE


@pytest.mark.parametrize("rate", [2.0, 3.3, 6.0])
def test_the_curve_is_found_again(rate):
    points = [(size, 0.5 * math.exp(-rate * (size - 12.0))) for size in (11.5, 11.9, 12.4)]
    truth = 12.0 - math.log(0.3 / 0.5) / rate
    assert crossing_of(points, 0.3, 0.001) == pytest.approx(truth, abs=0.02)


def test_a_lucky_score_moves_the_curve_little():
    points = [(size, 0.5 * math.exp(-4 * (size - 12.0))) for size in (11.6, 11.8, 12.0, 12.2)]
    without, with_luck = crossing_of(points, 0.3, 0.1), crossing_of([*points, (11.7, -0.1)], 0.3, 0.1)
    assert abs(without - with_luck) < 0.05


def test_what_always_holds_is_made_as_small_as_it_can_be():
    points = run(lambda size: -0.1)
    assert len(points) <= 7
    assert smallest_that_holds(points) <= SMALLEST + TOLERANCE


def test_what_never_holds_is_tried_at_its_largest():
    points = run(lambda size: 5.0)
    assert len(points) <= 7
    assert max(size for size, _ in points) >= LARGEST - TOLERANCE
    assert smallest_that_holds(points) is None


def test_a_drop_without_bound_is_only_too_far():
    points = run(lambda size: math.inf if size < 11.5 else 0.0)
    assert 11.5 <= smallest_that_holds(points) <= 11.5 + 2 * TOLERANCE


def test_nothing_allowed_still_ends():
    points = run(lambda size: max(0.0, 12.5 - size), allowed=0.0)
    assert 12.5 <= smallest_that_holds(points, 0.0) <= 12.5 + 2 * TOLERANCE


def test_the_first_is_the_start_within_what_is_reached():
    assert bracket([]).next_size(11.0) == 11.0
    assert bracket([]).next_size(1.0) == SMALLEST
    assert bracket([]).next_size(99.0) == LARGEST
    assert bracket([], to_beat=10.5).next_size(12.0) == 10.5 - TOLERANCE


def test_what_cannot_beat_the_best_is_not_measured():
    assert bracket([], to_beat=SMALLEST).next_size(12.0) is None
    assert bracket([(11.0, 1.0)], to_beat=11.0).next_size(12.0) is None
    size = bracket([(11.0, 0.1)], to_beat=11.3).next_size(12.0)
    assert size is not None
    assert size < 11.0


@given(
    st.floats(10.2, 13.8),
    st.floats(0.7, 9.0),
    st.lists(st.floats(-0.3, 0.3), min_size=40, max_size=40),
    st.floats(8.0, 16.0),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.sampled_from([0.0, 0.1, 0.3]),
)
def test_it_ends_and_stays_inside_whatever_the_noise(crossing, rate, noise, start, allowed, deviation):
    luck = iter(noise)
    points = run(
        lambda s: 0.3 * math.exp(-rate * (s - crossing)) + next(luck), start, 40, allowed=allowed, deviation=deviation
    )
    assert len(points) < 40
    assert all(SMALLEST <= size <= LARGEST for size, _ in points)
    sizes = sorted(size for size, _ in points)
    assert all(b - a > TOLERANCE / 4 for a, b in pairwise(sizes))
    if not deviation:
        best = smallest_that_holds(points, allowed)
        smaller = [size for size, drop in points if drop > allowed and (best is None or size < best)]
        nearest = max(smaller, default=SMALLEST)
        assert (LARGEST if best is None else best) - nearest <= TOLERANCE * 1.001


def test_one_unlucky_score_does_not_hide_what_is_smaller():
    """A flat loss, as of the translation models here: 0.25 at 12.0, and 0.3 only at 11.6."""
    unlucky = iter([0.2] + 20 * [0.0])
    points = run(lambda size: 0.25 * math.exp(-0.45 * (size - 12.0)) + next(unlucky), deviation=0.3, tolerance=0.02)
    assert points[0][1] > ALLOWED
    assert smallest_that_holds(points) <= 11.75
    assert len(points) <= 10


def test_beyond_doubt_is_beyond_doubt():
    points = [(12.0, 0.1), (11.5, ALLOWED + 0.31)]
    assert bracket(points, deviation=0.3).next_size(12.0) > 11.5
    assert bracket([*points, (11.8, 0.05), (11.9, 0.0)], deviation=0.3).next_size(12.0) > 11.5
