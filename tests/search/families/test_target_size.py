"""The largest archive of at most so many bytes, from wrong predictions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_network import Net
from small_search import Rounded

from lightning_compress.search.families.target_size import fit_bytes, strength_for, unreachable
from lightning_compress.weights import Weights


class Sized:
    """A family with sizes only."""

    weakest, strongest, groups = -4.0, 4.0, ()

    def __init__(self, size_of, error=1.0):
        self.size_of, self.error, self.made = size_of, error, 0

    def archive(self, strength):
        self.made += 1
        return type("Sized", (), {"nbytes": round(self.size_of(strength))})

    def predict_bytes(self, strength):
        return self.size_of(strength) * self.error


@given(st.integers(2_000, 200_000), st.floats(0.6, 1.5), st.floats(0.3, 1.5))
def test_a_smooth_family_is_fitted_in_a_few_archives(max_bytes, error, slope):
    family = Sized(lambda s: 20_000 * math.exp(-slope * s), error)
    strength, archive = fit_bytes(family, max_bytes)
    smallest, largest = family.size_of(4.0), family.size_of(-4.0)
    assert archive.nbytes == round(family.size_of(strength))
    if max_bytes > smallest + 1:
        assert 0.97 * min(max_bytes, largest) <= archive.nbytes <= max_bytes
        assert family.made <= 4


@given(st.integers(3_000, 60_000))
def test_a_family_in_steps_is_fitted_too(max_bytes):
    family = Sized(lambda s: 20_000 * 2.0 ** -round(s / 2))
    _, archive = fit_bytes(family, max_bytes)
    reached = {round(20_000 * 2.0**-k) for k in range(-2, 3)}
    fitting = [size for size in reached if size <= max_bytes]
    assert archive.nbytes == (max(fitting) if fitting else min(reached))


def test_where_nothing_fits_it_is_the_smallest():
    family = Rounded(Weights.from_module(Net()))
    strength, archive = fit_bytes(family, 1)
    assert strength == family.strongest
    assert archive.nbytes == family.archive(strength).nbytes


def test_the_smallest_strength_for_predicted_bytes():
    family = Sized(lambda s: 1000 * 2.0**-s)
    assert strength_for(family, 1000) == pytest.approx(0.0, abs=1e-3)
    assert strength_for(family, 1e9) == family.weakest
    assert strength_for(family, 1) == family.strongest


def test_the_error_names_what_can_be_reached():
    assert "no file of 1,000 bytes can be made: the smallest has 2,345 bytes. Give max_bytes=2345" in str(
        unreachable(1000, 2345)
    )
