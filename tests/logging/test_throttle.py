"""Work within a share of the time."""

from __future__ import annotations

from lightning_compress.logging.throttle import Sparing


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_work_is_due_at_first_and_again_when_the_share_allows():
    clock = Clock()
    sparing = Sparing(0.01, clock)
    assert sparing.is_due
    with sparing.working():
        clock.now += 2
    assert not sparing.is_due
    clock.now += 197
    assert not sparing.is_due
    clock.now += 1
    assert sparing.is_due


def test_work_that_fails_counts_too():
    clock = Clock()
    sparing = Sparing(0.5, clock)
    try:
        with sparing.working():
            clock.now += 2
            raise ValueError
    except ValueError:
        pass
    assert not sparing.is_due


def test_work_takes_its_share_of_a_long_time_and_no_more():
    clock = Clock()
    sparing, worked = Sparing(0.02, clock), 0
    for _ in range(10_000):
        clock.now += 1
        if sparing.is_due:
            with sparing.working():
                clock.now += 3
            worked += 3
    assert 0.015 < worked / (clock.now - 1000) <= 0.0205
