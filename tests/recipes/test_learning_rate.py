"""Cases: the schedule's rise, peak and fall, and a warm-up of nothing."""

import pytest

from recipes.schedule import InverseSquareRoot


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
