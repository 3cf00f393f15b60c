"""Cases: each schedule's course, and settings out of range."""

import pytest

from recipes.training.schedule import Halving, InverseSquareRoot


def test_it_rises_linearly_and_falls_as_the_inverse_square_root():
    factor = InverseSquareRoot(100)
    assert [factor(step) for step in (0, 49, 99)] == pytest.approx([0.01, 0.5, 1.0])
    assert [factor(step) for step in (399, 9999)] == pytest.approx([0.5, 0.1])
    assert max(range(1000), key=factor) == 99


def test_it_is_the_published_formula():
    width, warmup = 512, 4000
    peak = (width * warmup) ** -0.5
    factor = InverseSquareRoot(warmup)
    for step in (1, 100, 4000, 100_000):
        published = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert peak * factor(step - 1) == pytest.approx(published)


def test_a_warmup_below_one_is_refused():
    with pytest.raises(ValueError, match="warmup is 0"):
        InverseSquareRoot(0)


def test_halving_waits_and_then_halves():
    factor = Halving(start=100, every=10)
    assert [factor(step) for step in (0, 109, 110, 119, 120, 200)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.5**10]


def test_gnmt_settings_halve_ten_times_over_the_second_half():
    factor = Halving(start=75_000, every=7_500)
    factors = [factor(step) for step in range(0, 150_001, 500)]
    assert factors == sorted(factors, reverse=True)
    assert set(factors) == {0.5**k for k in range(11)}
    assert factor(75_000) == 1.0
    assert factor(150_000) == 0.5**10


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"start": -1, "every": 1}, "start is -1"), ({"start": 0, "every": 0}, "every is 0: expected 1 step or more")],
)
def test_a_decay_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Halving(**settings)
