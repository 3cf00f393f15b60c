"""Work that takes at most a share of the time."""

from __future__ import annotations

from lightning_compress.logging.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_work_is_allowed_at_first_and_again_after_a_pause():
    clock = Clock()
    throttle = Throttle(0.01, clock)
    assert throttle.allows_work
    with throttle.timed_work():
        clock.now += 2
    assert not throttle.allows_work
    clock.now += 197
    assert not throttle.allows_work
    clock.now += 1
    assert throttle.allows_work


def test_work_that_fails_counts_too():
    clock = Clock()
    throttle = Throttle(0.5, clock)
    try:
        with throttle.timed_work():
            clock.now += 2
            raise ValueError
    except ValueError:
        pass
    assert not throttle.allows_work


def test_over_a_long_time_work_takes_its_share_and_no_more():
    clock = Clock()
    throttle, worked = Throttle(0.02, clock), 0
    for _ in range(10_000):
        clock.now += 1
        if throttle.allows_work:
            with throttle.timed_work():
                clock.now += 3
            worked += 3
    assert 0.015 < worked / (clock.now - 1000) <= 0.0205
